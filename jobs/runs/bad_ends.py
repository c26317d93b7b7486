"""What a webhook is told of a run that ended badly: a line for people, and the same in fields for programs."""

import logging
import shlex
import sys
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clusters.logs import form_asked
from jobs.notifying import Notify, send
from jobs.output import Show
from jobs.requests import AnyRequest
from jobs.runs.places import place_of
from jobs.runs.record import Counts, RunRecord
from jobs.words import failure_words, plain

Why = Literal["failed", "some images failed", "cut off", "deadline passed"]
# Slack cuts a text off beyond this.
_MOST_TEXT = 3000
_WORDS: dict[Why, str] = {
    "failed": "failed",
    "some images failed": "came to its end, but images failed",
    "cut off": "was cut off, and is taken up now",
    "deadline passed": "was stopped, since its deadline has passed; the next tick goes on with it",
}


class BadEnd(Struct, frozen=True, kw_only=True):
    """A run as programs are told of it. `again` is the command that runs it again, `record` where more stands."""

    id: str
    why: Why
    kind: str
    place: str
    record: str
    again: str
    host: str
    started: str = ""
    ended: str | None = None
    status: int | None = None
    message: str | None = None
    counts: Counts = Counts()
    schedule: str | None = None
    tick: str | None = None


def bad_end(record: RunRecord, place: str, url: str, again: str, why: Why | None = None) -> BadEnd:
    """Return what is told of a record that lies at `url`; why it ended badly follows from it, unless it is said."""
    return BadEnd(
        id=record.id, why=why or why_of(record), kind=record.kind, place=place, record=url, again=again,
        host=record.host, started=record.started, ended=record.ended, status=record.status, message=record.message,
        counts=record.counts, schedule=record.schedule, tick=record.tick,
    )  # fmt: skip


def ended_by_itself(record: RunRecord, status: int) -> RunRecord:
    """Return the record of a run that could not put its end: it was killed, or refused at once."""
    signal = f"it was killed by signal {status - 128}" if status > 128 else None
    return replace(record, outcome="failed", status=status, message=record.message or signal)


def why_of(record: RunRecord) -> Why:
    """Return why a run that is not done ended badly."""
    if record.outcome == "running":
        return "cut off"
    return "some images failed" if record.finished else "failed"


def document_of(end: BadEnd) -> dict[str, Any]:
    """Return what is posted: `text`, which receivers like Slack and Mattermost show, and `run`, all that is known."""
    return {"text": _text(end), "run": msgspec.to_builtins(end)}


def teller(request: AnyRequest, show: Show, *, of_tick: bool) -> Callable[[RunRecord], None]:
    """Return what tells a run's webhook of its record: one that ended badly, or that an earlier try left running.

    How the run of a tick ended is told by its tick, which knows of retries and of the deadline.
    """

    def tell_of(record: RunRecord) -> None:
        if show.notify and not (of_tick and record.outcome != "running"):
            place = place_of(request)
            again = shlex.join(["regrow", *show.command])
            tell(show.notify, bad_end(record, place.url, place.record(record.id), again))

    return tell_of


def tell(notify: Notify, end: BadEnd, warn: Callable[[str], None] | None = None) -> None:
    """Tell a webhook of a run, or say in a line why it could not be told."""
    send(notify, document_of(end), warn or _warn)


def _text(end: BadEnd) -> str:
    status = f" (exit status {end.status})" if end.status and end.why == "failed" else ""
    said = [f"regrow: run {end.id} ({end.kind}, {end.place}) {_WORDS[end.why]}{status}"]
    if end.message:
        said.append(end.message)
    if end.counts.images:
        failed = f", failed: {failure_words(end.counts.failures)}" if end.counts.failures else ""
        said.append(f"{end.counts.done:,} of {end.counts.images:,} images done{failed}")
    said.append(f"on {end.host}")
    said.append(f"again: {end.again}" if end.why in ("failed", "some images failed") else f"record: {end.record}")
    # Names of files must not become commands of the receiver, such as <!channel>.
    text = plain(". ".join(said)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 3]}..."


def _warn(line: str) -> None:
    if form_asked():
        logging.getLogger(__name__).warning("%s", line)
    else:
        sys.stderr.write(f"regrow: {line}\n")
