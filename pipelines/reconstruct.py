"""Reconstructing: select rows, regrow those whose pictures are not there yet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from clusters.machine import this_machine
from clusters.session import ray_session, waiting_seconds
from ops.archive.escrow import codec_of
from ops.archive.escrowed_weights import archived_weights, places_of
from ops.archive.layout import ArchiveError, Location, read_document
from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.rows import OK
from ops.archive.seal_names import SealName, name_of_seal
from ops.codecs.binding import check_runs
from ops.codecs.learned import is_learned
from ops.codecs.names import AnyCodec
from ops.keys import OutputNames
from ops.regrowing import PictureStyle
from ops.sources.folders import is_local
from ops.stores import absolute, child_of, join
from ops.stores.local import path_of
from pipelines.deadline import codec_seconds
from pipelines.events import UNTRAINED, Budgeted, Listener, Noted, Receipt, Started, nobody
from pipelines.idle_gpus import refuse_idle_gpus
from pipelines.regrow import Missed, Output, RegrowImages, RegrowTask, fetch_outputs
from pipelines.requests import ReconstructRequest
from pipelines.rows import read_receipt
from pipelines.selecting import Asked, Selection, selection_of
from pipelines.streaming import Stages, stream

GROUP_IMAGES = 64
# Some seconds of work on a processor: often enough for progress, rarely enough for Ray's 15 ms a row.
GROUP_PIXELS = 200_000_000
# Of a learned codec a good quarter of an hour on a processor, a second or two on a GPU.
LEARNED_PIXELS = 20_000_000
NO_PROGRESS_SECONDS = 3600.0


class Reconstructed(Struct, kw_only=True):
    """What came of a run: images regrown, there already, without a thumbnail, and what failed with its message.

    `seal` is the one that was read. Of keys that were `asked` for in lists, `num_unmet` are in the archive, and do not
    meet the other conditions. `num_selected` images were to be regrown, or lay there.
    """

    seal: SealName
    asked: Asked | None = None
    num_selected: int = 0
    num_regrown: int = 0
    num_there: int = 0
    num_failed_before: int = 0
    num_unmet: int = 0
    failures: list[str] = []

    def add(self, receipt: Receipt) -> None:
        """Add one receipt."""
        self.num_regrown += receipt.num_good
        self.num_there += receipt.num_skipped
        self.failures += receipt.messages


def reconstruct(request: ReconstructRequest, listen: Listener = nobody, since: int | None = None) -> Reconstructed:
    """Regrow the images that a request selects into files. Raises ArchiveError before any work if it cannot be met.

    `since` is the seal that this job's last run has seen, where the request goes by that; -1 for none.
    """
    archive = Archive.open(request.archive)
    destination = absolute(request.destination)
    _check_destination(archive, destination)
    codec = codec_of(archive.document, archive.location.url)
    archived_weights(codec, archive.location, request.weights)
    places = places_of(archive.location, [absolute(place) for place in request.weights])
    check_runs(codec, places)  # a codec that cannot run here is refused before Ray starts
    if archive.document.untrained:
        listen(Noted(UNTRAINED))
    task = RegrowTask(
        location=archive.location,
        version=archive.version,
        destination=destination,
        codec=codec,
        style=style_of(archive, request),
        weights=places,
    )
    return _run(archive, task, request, selection_of(archive, request, since), listen)


def style_of(archive: Archive, request: ReconstructRequest) -> PictureStyle:
    """Return how the pictures of a request are written."""
    return PictureStyle(
        suffix=request.format,
        quality=request.quality,
        metadata=request.metadata,
        archive=archive.location.url,
        codec=archive.document.codec_name,
        codec_digest=archive.document.codec_digest,
        generative=archive.document.generative,
        background=archive.document.reading.background,
    )


def _check_destination(archive: Archive, destination: str) -> None:
    if is_local(destination) and Path(path_of(destination)).is_file():
        raise ArchiveError(f"{destination} is a file: name a folder for the pictures")
    if child_of(destination, archive.location.url) or read_document(Location(destination)):
        raise ArchiveError(f"{destination} is (in) an archive: name another folder for the pictures")
    for source in archive.sources():
        if child_of(destination, source):
            raise ArchiveError(f"{destination} lies in {source}, which this archive was made of: name another folder")


def _run(
    archive: Archive, task: RegrowTask, request: ReconstructRequest, selection: Selection, listen: Listener
) -> Reconstructed:
    seal = name_of_seal(archive.location, archive.seal.number)
    result = Reconstructed(seal=seal, asked=selection.asked)
    names = OutputNames(_counted(archive, selection, result), request.format)
    if not result.num_selected and not selection.may_be_empty:
        raise ArchiveError(f"{archive.location.url} has no image with a thumbnail that meets the request")
    if result.num_selected:
        refuse_idle_gpus([task.codec], request.address, this_machine().gpus)

    def heard(receipt: Receipt) -> None:
        result.add(receipt)
        listen(receipt)

    listen(Started(num_images=result.num_selected + len(selection.refused), num_bytes=0, num_done=0))
    if selection.refused:
        heard(_refusal(selection.refused))
    if not result.num_selected:
        return result
    with ray_session(request.address, accelerated=is_learned(task.codec)) as budget:
        listen(Budgeted(budget))
        for work, longest in _works(archive, task, selection, names):
            for row in stream(work, Stages(fetch_outputs, RegrowImages, task), budget, longest):
                heard(read_receipt(row))
    return result


def _refusal(refused: Sequence[Missed]) -> Receipt:
    """Return the receipt of what was asked for and cannot be had."""
    return Receipt(
        name="", num_images=len(refused), num_good=0, pixels=0, source_bytes=0, thumbnail_bytes=0, seconds=0.0,
        failures=[one.code for one in refused], messages=[one.message for one in refused],
    )  # fmt: skip


def _counted(archive: Archive, selection: Selection, result: Reconstructed) -> Iterator[str]:
    """Yield the keys that are to be regrown, and count them."""
    num_rows = 0
    for table in selection.tables(archive):
        good = _good(table)
        num_rows += table.num_rows
        result.num_selected += good.num_rows
        result.num_failed_before += table.num_rows - good.num_rows
        yield from good["key"].to_pylist()
    if selection.asked is not None:
        result.num_unmet = len(selection.keys or ()) - num_rows


def _works(
    archive: Archive, task: RegrowTask, selection: Selection, names: OutputNames
) -> Iterator[tuple[pa.Table, float]]:
    """Yield rows of work, and after how many seconds without a row of theirs a run counts as stuck."""
    sources = archive.sources()
    group_pixels = LEARNED_PIXELS if task.codec.seconds_per_megapixel.up else GROUP_PIXELS
    for table in selection.tables(archive):
        work = _work(_good(table), names, task.destination, sources, group_pixels)
        if work.num_rows:
            yield work, _longest(task.codec, max(_largest(table), group_pixels))


def _good(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["status"], OK))


def _longest(codec: AnyCodec, pixels: int) -> float:
    """Return after how many seconds without a row of at most so many pixels a run counts as stuck."""
    return NO_PROGRESS_SECONDS + waiting_seconds() + 2 * codec_seconds(codec, GROUP_IMAGES, pixels, "cpu", up=True)


def _largest(table: pa.Table) -> int:
    """Return the pixels of the largest image among rows."""
    return pc.max(pc.multiply(table["width"].cast(pa.int64()), table["height"].cast(pa.int64()))).as_py() or 0


def _work(table: pa.Table, names: OutputNames, destination: str, sources: list[str], group_pixels: int) -> pa.Table:
    """Return rows of work: images that lie together in their pack, so that one range brings many of them."""
    rows = catalog_rows(table.sort_by([("pack", "ascending"), ("row", "ascending")]))
    groups = [[Output(row, names.name_of(row.key)) for row in group] for group in _groups(rows, group_pixels)]
    for source in sources:
        for name in (output.name for group in groups for output in group):
            if join(destination, name).startswith(f"{source}/"):
                raise ArchiveError(
                    f"{join(destination, name)} would lie among the originals in {source}: name another folder"
                )
    packed = pa.array([msgspec.msgpack.encode(group) for group in groups], pa.binary())
    return pa.table({"name": pa.array([group[0].name for group in groups], pa.string()), "outputs": packed})


def _groups(rows: Sequence[CatalogRow], group_pixels: int) -> Iterator[list[CatalogRow]]:
    held: list[CatalogRow] = []
    num_pixels = 0
    for row in rows:
        pixels = (row.width or 0) * (row.height or 0)
        if held and (len(held) == GROUP_IMAGES or num_pixels + pixels > group_pixels):
            yield held
            held, num_pixels = [], 0
        held.append(row)
        num_pixels += pixels
    if held:
        yield held
