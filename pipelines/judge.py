"""The two stages of evaluating: fetch thumbnails and references; regrow, score, and put the score rows."""

import hashlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from msgspec import Struct

from clusters.costs import STREAMS
from ops.ahead import Ahead
from ops.archive import attempts
from ops.archive.attempts import DEATHS_TO_CONVICT, Attempt
from ops.archive.layout import Location
from ops.archive.reading import read_image_rows
from ops.archive.rows import OK, ImageRow
from ops.candidates import Kept
from ops.careful import decode_apart
from ops.codecs.base import Runtime, is_broken_device
from ops.codecs.binding import reach
from ops.decoding import decode
from ops.encoding import CAREFUL_SECONDS, CAREFUL_SECONDS_PER_MEGAPIXEL, broken_over, claimed_pixels, limits_of
from ops.evaluation.document import Judging
from ops.evaluation.plan import Pair, Work, read_work
from ops.evaluation.scores import ScoreRow, ScoreStatus
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.judging import Judge, Judged, failed, is_of_memory, judging_cost, put_judged, why_unreadable
from ops.large import alone_if
from ops.readers.base import Entry
from ops.regrowing import payload_of
from ops.sources import fetch
from pipelines.deadline import deadline, judging_seconds
from pipelines.events import Receipt
from pipelines.rows import Row, judged_row, read_judged, receipt_row
from pipelines.turns import Turns
from pipelines.versions import check_version


class JudgeTask(Struct, frozen=True, kw_only=True):
    """What every worker of one run must know; `location` and `version` are the archive's, if one is judged.

    Its rows say where their references are, unless `references_named`: then the plan does.
    """

    url: str
    run: str
    judging: Judging
    location: Location | None = None
    version: str = ""
    references_named: bool = False
    shares: dict[str, float] = {}
    weights: tuple[str, ...] = ()


def fetch_work(row: Row, task: JudgeTask) -> Row:
    """Read a work of the plan, the archive's rows, and the references."""
    work = read_work(task.url, row["file"], int(row["row_group"]), int(row["row"]))
    kept = list(_kept(work, task))
    references = [_reference(pair, one, task) for pair, one in zip(work.pairs, kept, strict=True)]
    wanted = [one for one in references if isinstance(one, Entry)]
    fetched = iter(fetch(wanted, STREAMS, limits_of(task.judging.reading)))
    encoded = [next(fetched) if isinstance(one, Entry) else one for one in references]
    if not task.references_named:
        encoded = [_unchanged(content, one) for content, one in zip(encoded, kept, strict=True)]
    return judged_row(work.id, [pair.key for pair in work.pairs], kept, encoded)


def _kept(work: Work, task: JudgeTask) -> Iterator[ImageRow | None]:
    """Yield what the archive keeps of each image; of a source, nothing."""
    if task.location is None:
        yield from (None for _ in work.pairs)
        return
    rows = [pair.row for pair in work.pairs if pair.row is not None]
    found = iter(read_image_rows(task.location, rows, task.version))
    for pair in work.pairs:
        one = next(found)
        if isinstance(one, Failure):
            one = ImageRow(
                key=pair.key, generation=0, status=str(one.code), message=one.message, uri="", locator="", etag="",
                source_bytes=0,
            )  # fmt: skip
        yield one


def _reference(pair: Pair, kept: ImageRow | None, task: JudgeTask) -> Entry | Failure:
    if pair.reference is not None:
        return pair.reference
    if kept is None or task.references_named or not kept.uri:
        return Failure(FailureCode.VANISHED, "the references that were named hold no image of this key")
    # What it holds is compared, not when it was written: a copy that was put back is the same image.
    return Entry(key=kept.key, uri=kept.uri, locator=kept.locator, size=kept.source_bytes)


def _unchanged(encoded: bytes | Failure, kept: ImageRow | None) -> bytes | Failure:
    """Return an original if it is the one that was archived."""
    if kept is None or kept.source_sha256 is None or isinstance(encoded, Failure):
        return encoded
    if hashlib.sha256(encoded).hexdigest() == kept.source_sha256:
        return encoded
    return Failure(FailureCode.CHANGED, f"{kept.uri} is another image now than the one that was archived")


class JudgeWork:
    """Regrows, judges, and puts score rows and features."""

    def __init__(self, task: JudgeTask, runtime: Runtime) -> None:
        runtime = reach(runtime, task.weights)
        self._task, self._runtime = task, runtime
        check_version(task.judging)
        self._judge = Judge(task.judging, runtime, task.shares)
        self._ahead = Ahead(runtime.threads, runtime.pixel_budget)
        self._turns = Turns()
        reading = task.judging.reading
        settings: dict[str, Any] = {"limits": limits_of(reading), "background": reading.background}
        self._decode = partial(decode, **settings, metadata="none")
        self._decode_apart = partial(decode_apart, **settings, metadata="none")

    def __call__(self, row: Row) -> Row:
        started, task = time.monotonic(), self._task
        work, keys, kept, encoded = read_judged(row)
        attempt = attempts.begin(Location(task.url), work, task.run)
        with self._turns.alone() if attempt.careful else self._turns.shared():
            seconds = judging_seconds(
                task.judging, len(encoded), sum(map(claimed_pixels, encoded)), self._runtime.device
            )
            with deadline(seconds):
                judged = list(self._judged(keys, kept, encoded, attempt))
            rows = [row for one in judged for row in one.rows]
            put_judged(task.url, work, judged, task.judging)
        return receipt_row(_receipt(work, rows, encoded, time.monotonic() - started))

    def _cost(self, encoded: bytes | Failure) -> int:
        return judging_cost(self._task.judging, claimed_pixels(encoded))

    def _judged(
        self, keys: list[str], kept: list[ImageRow | None], encoded: list[bytes | Failure], attempt: Attempt
    ) -> Iterator[Judged]:
        given = list(zip(range(len(keys)), keys, kept, encoded, strict=True))
        if not attempt.careful:
            costs = ((one, self._cost(one[3])) for one in given)
            yield from self._ahead.in_order(lambda one: self._one(*one[1:], decoder=self._decode), costs)
            return
        try:
            for index, key, row, content in given:
                # Runs that died whole may have been stopped by a batch system: scores are taken again, not given up.
                if attempt.suspects.get(index, ()).count(attempt.run) >= DEATHS_TO_CONVICT:
                    why = f"it was in hand each time its worker died ({attempt.deaths} deaths)"
                    yield self._failed(key, ScoreStatus.REFERENCE_UNREADABLE, why)
                    continue
                attempt.take_in_hand(index)
                yield self._one(key, row, content, decoder=self._decode_in_process)
        finally:
            attempt.take_in_hand(None)

    def _one(self, key: str, kept: ImageRow | None, encoded: bytes | Failure, *, decoder: Any) -> Judged:
        if kept is not None and kept.status != OK:
            return self._failed(key, ScoreStatus.NO_THUMBNAIL, f"{kept.status}: {kept.message}")
        if isinstance(encoded, Failure):
            gone = encoded.code == FailureCode.VANISHED
            status = ScoreStatus.NO_REFERENCE if gone else ScoreStatus.REFERENCE_UNREADABLE
            return self._failed(key, status, why_unreadable(key, encoded))
        with alone_if(large=self._cost(encoded) > self._runtime.large_pixels):
            try:
                reference: Pixels = decoder(encoded).pixels
            except ImageError as error:
                return self._failed(key, ScoreStatus.REFERENCE_UNREADABLE, why_unreadable(key, error.failure))
            try:
                return self._judge.judge(key, reference, encoded, None if kept is None else kept_of(kept))
            except Exception as error:
                if is_broken_device(error):
                    raise broken_over(key, error) from error
                if not is_of_memory(error):
                    raise
                return self._failed(key, ScoreStatus.NOT_JUDGED, f"no memory to judge {key}: give workers more")

    def _decode_in_process(self, content: bytes) -> Any:
        megapixels = claimed_pixels(content) / 1e6
        return self._decode_apart(
            content,
            seconds=CAREFUL_SECONDS + CAREFUL_SECONDS_PER_MEGAPIXEL * megapixels,
            memory_bytes=int(12e6 * megapixels) + (2 << 30),
        )

    def _failed(self, key: str, status: ScoreStatus, message: str) -> Judged:
        return Judged(failed(self._task.judging, key, status, message), [])


def kept_of(row: ImageRow) -> Kept:
    """Return what a judge needs of an archive's row. Raises ImageError for one without a thumbnail."""
    return Kept(payload_of(row), len(row.alpha or b""))


def _receipt(work: str, rows: list[ScoreRow], encoded: list[bytes | Failure], seconds: float) -> Receipt:
    sizes = {row.key: (row.width or 0) * (row.height or 0) for row in rows}
    bad = {row.key for row in rows if row.status != OK}
    return Receipt(
        name=work, num_images=len(sizes), num_good=len(sizes) - len(bad), pixels=sum(sizes.values()),
        source_bytes=sum(len(one) for one in encoded if isinstance(one, bytes)), thumbnail_bytes=0, seconds=seconds,
        failures=sorted({row.key: row.status for row in rows if row.status != OK}.values()),
    )  # fmt: skip
