"""A message to a webhook: whom a job file or schedule names, and the sending.

Sending fails nothing, and nothing that is said of it holds the URL: who has it can write there.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from jobs.errors import UsageError

TRY_SECONDS = 5.0
PAUSE_SECONDS = 1.0
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ALLOWED = re.compile(r"(https?://|\$\{[A-Za-z_]).+", re.IGNORECASE)
# Answers after which the same request may be taken: too slow, too many, and the server's own troubles.
_PASSING = (408, 429)


class Notify(Struct, frozen=True, kw_only=True):
    """Whom to tell when a run ends badly: `webhook` is a URL, in which ${NAME} stands for an environment variable."""

    webhook: str

    def __repr__(self) -> str:
        return "Notify(webhook=...)"

    @property
    def variables(self) -> list[str]:
        """The environment variables that the URL is made of; none where it is written out."""
        return _VARIABLE.findall(self.webhook)


class Undelivered(Exception):
    """A message was not taken; the words do not hold the URL. `passing`: it may be the next time."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


def notify_from(found: Any) -> Notify | None:
    """Return what a file's field `notify` says. Raises UsageError, which shows nothing of it."""
    if found is None:
        return None
    webhook: Any = found.get("webhook") if isinstance(found, dict) and list(found) == ["webhook"] else None
    if not isinstance(webhook, str) or not _ALLOWED.fullmatch(webhook):
        raise UsageError(
            "field notify: write a mapping with webhook, which is an http(s) URL or ${NAME}, an environment variable "
            "that holds one"
        )
    return Notify(webhook=webhook)


def read_notify(job: str) -> Notify | None:
    """Return whom a job file, or a schedule, has told. Raises UsageError, or OSError where it cannot be read."""
    from jobs.strict_yaml import load_mapping  # noqa: PLC0415  only where a job file is read
    from ops.stores import absolute, open_store  # noqa: PLC0415

    whole = absolute(job)
    try:
        return notify_from(load_mapping(open_store(whole).read(whole)).get("notify"))
    except UsageError as error:
        raise UsageError(f"{job}: {error}") from error


def refuse_written_out(notify: Notify | None) -> None:
    """Raise UsageError for a URL that would lie open in what is emitted for a cluster."""
    if notify and not notify.variables:
        raise UsageError(
            "notify.webhook is written out, and whoever reads the manifest could write there: write ${NAME}, and put "
            "the URL under that name into a Secret"
        )


def send(notify: Notify, document: object, warn: Callable[[str], None]) -> None:
    """Post a document as JSON, a second time where the first try might have failed by chance.

    `warn` is told, in a line, where it was not taken. Takes eleven seconds at most.
    """
    content = msgspec.json.encode(document)
    try:
        url = _url(notify)
        try:
            _within(TRY_SECONDS, lambda: _post(url, content))
        except Undelivered as first:
            if not first.passing:
                raise
            time.sleep(PAUSE_SECONDS)
            _within(TRY_SECONDS, lambda: _post(url, content))
    except Undelivered as error:
        warn(f"the webhook was not told: {error}")


def _url(notify: Notify) -> str:
    if missing := [name for name in notify.variables if not os.environ.get(name)]:
        raise Undelivered(f"the environment variable {missing[0]} is not set")
    url = _VARIABLE.sub(lambda found: os.environ[found[1]], notify.webhook).strip()
    if not url.lower().startswith(("http://", "https://")):
        raise Undelivered(f"what {', '.join(notify.variables)} holds is no http(s) URL")
    return url


def _within(seconds: float, post: Callable[[], None]) -> None:
    """Run a post for so long at most: a name server, or an answer that trickles in, has no time-out of its own."""
    failed: list[Undelivered] = []

    def run() -> None:
        try:
            post()
        except Undelivered as error:
            failed.append(error)
        except Exception as error:  # noqa: BLE001  whatever it is, no run fails of it, and its words may hold the URL
            failed.append(Undelivered(type(error).__name__))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Undelivered(f"no answer within {seconds:g} s", passing=True)
    if failed:
        raise failed[0]


def _post(url: str, content: bytes) -> None:
    from urllib import request  # noqa: PLC0415  slow to import, and rarely needed
    from urllib.error import HTTPError, URLError  # noqa: PLC0415

    # It follows nowhere: a POST would arrive there as a GET without its body, and count as taken.
    opener = request.OpenerDirector()
    for handler in (request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler):
        opener.add_handler(handler())
    opener.add_handler(request.HTTPDefaultErrorHandler())
    opener.add_handler(request.HTTPErrorProcessor())
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "regrow"}
    try:
        asked = request.Request(url, content, headers, method="POST")  # noqa: S310  http(s) alone
        opener.open(asked, timeout=TRY_SECONDS).close()
    except HTTPError as error:
        error.close()
        raise Undelivered(f"it answered {error.code}", passing=error.code >= 500 or error.code in _PASSING) from None
    except URLError as error:
        raise Undelivered(_cause(error.reason), passing=True) from None
    except OSError as error:
        raise Undelivered(_cause(error), passing=True) from None


def _cause(reason: object) -> str:
    """Return what the system says of a connection; TLS's own words hold the host's name."""
    said = reason.strerror if isinstance(reason, OSError) and type(reason).__module__ != "ssl" else None
    return said or type(reason).__name__
