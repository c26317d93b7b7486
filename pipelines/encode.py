"""The two stages of archiving: fetch a chunk's encoded images; encode them and put the part."""

import hashlib
import time
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from clusters.costs import STREAMS
from ops.archive import attempts
from ops.archive.attempts import Attempt
from ops.archive.layout import ArchiveError, Location, Reading
from ops.archive.parts import PartFacts, put_part
from ops.archive.plan import Chunk, read_chunk
from ops.archive.ranges import read_footer
from ops.archive.rows import OK, ImageRow
from ops.candidates import Kept
from ops.codecs.base import Payload, Runtime
from ops.codecs.binding import reach
from ops.codecs.learned import LearnedConfig
from ops.codecs.names import AnyCodec
from ops.encoding import ChunkEncoder, DoneAside, claimed_pixels, limits_of
from ops.evaluation.document import Judging
from ops.evaluation.scores import ScoreStatus
from ops.here import device_words, stack_words
from ops.images import Failure, Pixels
from ops.judging import Judge, Judged, failed, judging_cost, put_judged
from ops.sources import fetch
from pipelines.deadline import codec_seconds, deadline, judging_seconds, seconds_for
from pipelines.events import Receipt
from pipelines.rows import Row, fetched_row, read_fetched, receipt_row
from pipelines.turns import Turns
from pipelines.versions import check_version


class Scoring(Struct, frozen=True, kw_only=True):
    """Where scores are put that are taken while originals are at hand, and how they are taken."""

    url: str
    judging: Judging


class ArchiveTask(Struct, frozen=True, kw_only=True):
    """What every worker of one run must know; `run` tells the runs of one plan apart."""

    location: Location
    run: str
    generation: int
    plan_digest: str
    codec: AnyCodec
    codec_digest: str
    reading: Reading
    scoring: Scoring | None = None
    weights: tuple[str, ...] = ()


def fetch_chunk(row: Row, task: ArchiveTask) -> Row:
    """Read a chunk of the plan and its encoded images."""
    chunk = read_chunk(task.location, task.generation, row["file"], int(row["row_group"]), int(row["row"]))
    return fetched_row(chunk, fetch(chunk.entries, STREAMS, limits_of(task.reading)))


class EncodeChunk:
    """Encodes chunks and puts their parts."""

    def __init__(self, task: ArchiveTask, runtime: Runtime) -> None:
        # A worker may have another version than its driver: its thumbnails would be another codec's.
        if (found := task.codec.digest()) != task.codec_digest:
            raise ArchiveError(
                f"the regrow of this worker makes {task.codec.spelling()} with digest {found[:12]}, its driver's with "
                f"{task.codec_digest[:12]}: install one version on every machine"
            )
        runtime = reach(runtime, task.weights)
        self._task, self._device = task, runtime.device
        self._turns = Turns()
        codec = task.codec.load(runtime)
        if task.scoring is None:
            self._encoder = ChunkEncoder(codec, task.reading, runtime)
        else:
            check_version(task.scoring.judging)
            aside = _judging(task.scoring.judging, runtime)
            cost = partial(judging_cost, task.scoring.judging)
            self._encoder = ChunkEncoder(codec, task.reading, runtime, aside, cost)

    def __call__(self, row: Row) -> Row:
        started, task = time.monotonic(), self._task
        chunk, fetched = read_fetched(row)
        attempt = attempts.begin(task.location, chunk.id, task.run)
        with self._turns.alone() if attempt.careful else self._turns.shared():
            rows = self._encode(chunk, fetched, attempt)
        return receipt_row(_receipt(chunk.id, len(chunk.entries), rows, time.monotonic() - started))

    def _encode(self, chunk: Chunk, fetched: list[bytes | Failure], attempt: Attempt) -> list[ImageRow]:
        task, facts = self._task, part_facts(self._task, chunk.id, self._device)
        judged: list[Judged] = []
        num_bytes = sum(len(content) for content in fetched if isinstance(content, bytes))
        pixels = sum(map(claimed_pixels, fetched))
        seconds = seconds_for(len(fetched), num_bytes, pixels=pixels, careful=attempt.careful)
        seconds += codec_seconds(task.codec, len(fetched), pixels, self._device, down=True)
        if task.scoring:
            seconds += judging_seconds(task.scoring.judging, len(fetched), pixels, self._device)
        with deadline(seconds):
            if attempt.careful and _is_there(task.location, facts):
                rows: list[ImageRow] = []  # another driver's, or ours whose worker died after it was put
            elif attempt.careful:
                rows = self._encoder.careful_rows(chunk, fetched, task.generation, attempt, judged)
            else:
                rows = self._encoder.rows(chunk, fetched, task.generation, judged)
            if rows:
                # Scores first: where the part is, nobody comes back for them.
                self._put_scores(chunk.id, rows, judged)
                put_part(task.location, rows, facts)
        return rows

    def _put_scores(self, chunk_id: str, rows: list[ImageRow], judged: list[Judged]) -> None:
        scoring = self._task.scoring
        if scoring is None:
            return
        bad = [row for row in rows if row.status != OK]
        without = [
            failed(scoring.judging, row.key, ScoreStatus.NO_THUMBNAIL, f"{row.status}: {row.message}") for row in bad
        ]
        # Named by what was archived, too: a try whose part was not put may have seen images that this one did not.
        seen = hashlib.sha256(msgspec.json.encode([(row.key, row.thumbnail_sha256) for row in rows])).hexdigest()
        judged = [*judged, *(Judged(rows, []) for rows in without)]
        put_judged(scoring.url, f"{chunk_id}-{seen[:8]}", judged, scoring.judging)


def _judging(judging: Judging, runtime: Runtime) -> DoneAside:
    judge = Judge(judging, runtime)

    def aside(key: str, encoded: bytes, pixels: Pixels, payload: Payload, alpha: bytes | None) -> Judged:
        try:
            return judge.judge(key, pixels, encoded, Kept(payload, len(alpha or b"")))
        except Exception as error:  # noqa: BLE001  scores are a by-work: the image is archived, and its row says why
            said = f"scoring failed with {type(error).__name__}: {' '.join(str(error).split())}"
            return Judged(failed(judging, key, ScoreStatus.NOT_JUDGED, said), [])

    return aside


def part_facts(task: ArchiveTask, chunk_id: str, device: str = "cpu") -> PartFacts:
    """Return what a part of this run says of itself; `device` is the worker's, which only learned codecs use."""
    return PartFacts(
        chunk_id=chunk_id,
        plan_digest=task.plan_digest,
        codec_digest=task.codec_digest,
        device=device_words(device if isinstance(task.codec, LearnedConfig) else "cpu"),
        stack=stack_words(task.codec),
    )


def _is_there(location: Location, facts: PartFacts) -> bool:
    try:
        read_footer(location.store, location.part(facts.chunk_id))
    except FileNotFoundError:
        return False
    return True


def _receipt(name: str, num_images: int, rows: list[ImageRow], seconds: float) -> Receipt:
    good = [row for row in rows if row.status == OK]
    totals: dict[str, Any] = {
        "pixels": sum((row.width or 0) * (row.height or 0) for row in good),
        "source_bytes": sum(row.source_bytes for row in good),
        "thumbnail_bytes": sum(len(row.thumbnail or b"") for row in good),
    }
    failures = [row.status for row in rows if row.status != OK]
    return Receipt(
        name=name, num_images=num_images, num_good=num_images - len(failures), seconds=seconds, failures=failures,
        **totals,
    )  # fmt: skip
