"""The record of a run: one JSON object where the job writes, put when work begins and again when it ends."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from jobs.errors import InputError, UsageError
from jobs.requests import AnyRequest
from jobs.runs.places import Place
from jobs.runs.times import now_stamp
from jobs.spec import KINDS
from jobs.tally import Tally
from ops.archive.seal_names import SealName
from ops.stores import open_store
from pipelines.requests import ReconstructRequest
from pipelines.verify import Sweep

Outcome = Literal["running", "done", "failed", "stopped"]
_ID = re.compile(r"[A-Za-z0-9._-]{1,80}")
# A selection of millions of keys is told by its digest.
_MOST_KEYS = 1000
_NAMES = {struct: kind for kind, struct in KINDS.items()}


class Counts(Struct, frozen=True, kw_only=True):
    """What a run did. Images are planned or selected, and done by its end, here or by runs before; the rest is its own.

    `bytes_in` are originals, or thumbnails that were regrown; `bytes_out` are thumbnails, or pictures that were put.
    Failures are counted by code.
    """

    images: int = 0
    done: int = 0
    megapixels: float = 0.0
    bytes_in: int = 0
    bytes_out: int | None = None
    failures: dict[str, int] = {}


class RunRecord(Struct, frozen=True, kw_only=True):
    """runs/ID.json. Times are UTC; `begun` counts how often the run was begun, `seconds` are those of the last time.

    `finished` says that it came to its end, whatever failed in it: run again, it would find the same. `resources` are
    this machine, or the cluster's address, and the budget of its stages once Ray was there.

    `request` is what a job file would say, without what is by default; `digest` is of all that it asks for. `seal` is
    there where nothing failed: all that was asked for of the archive, up to that seal, is done. `sweep` is where the
    next run that verifies a share goes on.
    """

    id: str
    kind: str
    request: dict[str, Any]
    digest: str
    started: str
    ended: str | None = None
    seconds: float | None = None
    outcome: Outcome = "running"
    finished: bool = False
    status: int | None = None
    message: str | None = None
    begun: int = 1
    counts: Counts = Counts()
    versions: str = ""
    resources: dict[str, Any] = {}
    host: str = ""
    pid: int = 0
    schedule: str | None = None
    tick: str | None = None
    seal: SealName | None = None
    sweep: Sweep | None = None


def check_id(run_id: str) -> str:
    """Return a run's id. Raises UsageError where it cannot be the name of a record."""
    if not _ID.fullmatch(run_id) or not run_id.strip("."):
        raise UsageError(f"run id {run_id!r}: write 1 to 80 of A-Z a-z 0-9 . _ -, such as 2026-11-25")
    return run_id


def new_id() -> str:
    """Return an id for a run that was given none; they sort by time."""
    return f"{now_stamp()}-{secrets.token_hex(3)}"


def kind_of(request: AnyRequest) -> str:
    """Return the kind that a job file would name."""
    return _NAMES[type(request)]


def request_fields(request: AnyRequest) -> dict[str, Any]:
    """Return a request as a job file says it, without what is by default."""
    given = {"kind": kind_of(request)}
    for field in msgspec.structs.fields(request):
        value = getattr(request, field.name)
        if not field.required and value == field.default:
            continue
        if field.default_factory is not msgspec.NODEFAULT and value == field.default_factory():
            continue
        given[field.name] = msgspec.to_builtins(value)
    keys = given.get("keys") or ()
    if len(keys) > _MOST_KEYS:
        given["keys"] = f"{len(keys):,} keys, which the digest stands for"
    return given


def request_digest(request: AnyRequest) -> str:
    """Return the sha256, in hex, of what a request asks for; where it runs is no part of it."""
    asked = {name: value for name, value in msgspec.to_builtins(request).items() if name != "address"}
    content = msgspec.json.encode([kind_of(request), asked], order="sorted")
    return hashlib.sha256(content).hexdigest()


def counts_of(request: AnyRequest, tally: Tally) -> Counts:
    """Return what was counted so far."""
    regrown = isinstance(request, ReconstructRequest)
    return Counts(
        images=tally.num_images,
        done=tally.num_done,
        megapixels=round(tally.pixels / 1e6, 3),
        bytes_in=tally.thumbnail_bytes if regrown else tally.source_bytes,
        bytes_out=tally.picture_bytes if regrown else tally.thumbnail_bytes,
        failures=dict(tally.failures),
    )


def put_record(place: Place, record: RunRecord) -> None:
    """Put a record in place of what it said before."""
    content = msgspec.json.format(msgspec.json.encode(record), indent=2)
    open_store(place.records).put(place.record(record.id), content)


def read_record(place: Place, run_id: str) -> RunRecord | None:
    """Return a run's record, or nothing where it has none. Raises InputError for one that cannot be read."""
    url = place.record(run_id)
    try:
        return msgspec.json.decode(open_store(url).read(url), type=RunRecord)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.MsgspecError as error:
        raise InputError(f"{url} is damaged ({error}): remove it, and the run is begun anew") from error


def recorded_ids(place: Place) -> Iterator[str]:
    """Yield the ids of all runs of a place, by their names alone."""
    for stored in open_store(place.records).walk(place.records):
        name = stored.url.rsplit("/", 1)[-1]
        if name.endswith(".json"):
            yield name.removesuffix(".json")
