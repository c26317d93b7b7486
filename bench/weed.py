"""What the S3 server of the tests has served, by its own counts."""

import re
import urllib.request
from collections import Counter

from msgspec import Struct

from tests.weed import BUCKET, Weed

# Requests of no bucket are the server's own at its start.
_REQUESTS = re.compile(rf'^SeaweedFS_s3_request_total\{{bucket="{BUCKET}",(.*)\}} (\S+)$', re.MULTILINE)
_SENT = re.compile(r"^SeaweedFS_s3_bucket_traffic_sent_bytes_total\{.*\} (\S+)$", re.MULTILINE)
_TYPE = re.compile(r'type="(\w+)"')


class Served(Struct, frozen=True):
    """What a server has served so far: requests by kind, and bytes of objects sent (not of listings)."""

    requests: dict[str, int]
    sent_bytes: int

    def since(self, before: "Served") -> "Served":
        """Return what was served between two counts."""
        counted = Counter(self.requests)
        counted.subtract(before.requests)
        return Served({kind: n for kind, n in sorted(counted.items()) if n}, self.sent_bytes - before.sent_bytes)

    def __str__(self) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in self.requests.items()) or "none"


def counts_of(server: Weed) -> Served:
    """Return the server's own counts since it started."""
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    requests: Counter[str] = Counter()
    for labels, value in _REQUESTS.findall(text):
        kind = _TYPE.search(labels)
        requests[kind[1] if kind else "?"] += round(float(value))
    return Served(dict(requests), sum(round(float(value)) for value in _SENT.findall(text)))
