"""Ray and Python of a client and of a cluster: they must be the same, or neither understands the other."""

import re
import sys
from collections.abc import Mapping
from importlib import metadata

from msgspec import Struct

# As constraints.txt has it: for whoever writes a cluster's files where Ray is not installed.
RAY = "2.60.0"
# In the environment of a job that was submitted: the tag of versions that it was submitted from.
CLIENT = "REGROW_CLIENT"


class Versions(Struct, frozen=True, kw_only=True):
    """Ray's version, and Python's major and minor one, such as `3.11`."""

    ray: str
    python: str

    @property
    def tag(self) -> str:
        """What Ray's images are tagged with, such as `2.60.0-py311`."""
        return f"{self.ray}-py{self.python.replace('.', '')}"


def versions_here() -> Versions:
    """Return the versions of this Python and of the Ray in it; of no Ray, the one that regrow is tested with."""
    try:
        ray = metadata.version("ray")
    except metadata.PackageNotFoundError:
        ray = RAY
    return Versions(ray=ray, python=f"{sys.version_info.major}.{sys.version_info.minor}")


def mismatch(client: Versions, cluster: Versions) -> str | None:
    """Return in one line why a client cannot work with a cluster, and what to do; nothing where it can.

    Ray wants its own version equal to the last digit, and Python's to the minor one: `3.11.4` is as good as `3.11`.
    """
    if (client.ray, _minor(client.python)) == (cluster.ray, _minor(cluster.python)):
        return None
    return (
        f"the cluster runs Ray {cluster.ray} on Python {_minor(cluster.python)}, this machine Ray {client.ray} on "
        f"Python {_minor(client.python)}, and they must be the same: run the cluster on an image of {client.tag}, or "
        f"regrow here with ray=={cluster.ray} in Python {_minor(cluster.python)}"
    )


def refuse_other_client(environment: Mapping[str, str]) -> None:
    """Raise ConnectionError where a job was submitted from a Python or Ray that does not go with what runs here."""
    tag = re.fullmatch(r"(\d[.\d]*)-py(\d)(\d+)", environment.get(CLIENT, ""))
    if tag and (wrong := mismatch(Versions(ray=tag[1], python=f"{tag[2]}.{tag[3]}"), versions_here())):
        raise ConnectionError(wrong)


def image_mismatch(image: str, client: Versions) -> str | None:
    """Return in one line how an image's tag contradicts a client; nothing where it does not, or says nothing."""
    ray = re.search(r"(?:ray:|ray)(\d+\.\d+\.\d+)", image)
    python = re.search(r"-py(?:thon)?(\d)\.?(\d+)(?![\d.])", image)
    said = Versions(
        ray=ray[1] if ray else client.ray, python=f"{python[1]}.{python[2]}" if python else client.python
    )  # fmt: skip
    wrong = mismatch(client, said)
    return f"image {image}: {wrong}" if wrong else None


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
