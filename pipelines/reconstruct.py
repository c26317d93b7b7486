"""Reconstructing: select rows, regrow those whose pictures are not there yet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from clusters.machine import this_machine
from clusters.session import ray_session
from ops.archive.escrow import codec_of
from ops.archive.escrowed_weights import archived_weights, places_of
from ops.archive.layout import ArchiveError, Location, read_document
from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.rows import OK
from ops.codecs.binding import check_runs
from ops.codecs.learned import is_learned
from ops.codecs.names import AnyCodec
from ops.keys import OutputNames
from ops.regrowing import PictureStyle
from ops.sources.folders import is_local
from ops.stores import absolute, child_of, join
from ops.stores.local import path_of
from pipelines.deadline import codec_seconds
from pipelines.events import UNTRAINED, Listener, Noted, Receipt, Started, nobody
from pipelines.idle_gpus import refuse_idle_gpus
from pipelines.regrow import Output, RegrowImages, RegrowTask, fetch_outputs
from pipelines.requests import ReconstructRequest
from pipelines.rows import read_receipt
from pipelines.streaming import Stages, stream

GROUP_IMAGES = 64
# Some seconds of work on a processor: often enough for progress, rarely enough for Ray's 15 ms a row.
GROUP_PIXELS = 200_000_000
# Of a learned codec a good quarter of an hour on a processor, a second or two on a GPU.
LEARNED_PIXELS = 20_000_000
NO_PROGRESS_SECONDS = 3600.0


class Reconstructed(Struct, kw_only=True):
    """What came of a run: images regrown, there already, without a thumbnail, and what failed with its message."""

    num_regrown: int = 0
    num_there: int = 0
    num_failed_before: int = 0
    failures: list[str] = []

    def add(self, receipt: Receipt) -> None:
        """Add one receipt."""
        self.num_regrown += receipt.num_good
        self.num_there += receipt.num_skipped
        self.failures += receipt.failures


def reconstruct(request: ReconstructRequest, listen: Listener = nobody) -> Reconstructed:
    """Regrow the images that a request selects into files. Raises ArchiveError before any work if it cannot be met."""
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
    return _run(archive, task, request, listen)


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


def _run(archive: Archive, task: RegrowTask, request: ReconstructRequest, listen: Listener) -> Reconstructed:
    result, sources = Reconstructed(), archive.sources()
    selection = {"keys": request.keys, "match": request.match, "where": request.where}
    num_images = 0

    def keys() -> Iterator[str]:
        nonlocal num_images
        for table in archive.select(**selection):
            good = _good(table)
            num_images += good.num_rows
            result.num_failed_before += table.num_rows - good.num_rows
            yield from good["key"].to_pylist()

    group_pixels = LEARNED_PIXELS if task.codec.seconds_per_megapixel.up else GROUP_PIXELS
    names = OutputNames(keys(), request.format)
    if not num_images:
        raise ArchiveError(f"{archive.location.url} has no image with a thumbnail that meets the request")
    refuse_idle_gpus([task.codec], request.address, this_machine().gpus)
    listen(Started(num_images=num_images, num_bytes=0, num_done=0))
    with ray_session(request.address, accelerated=is_learned(task.codec)) as budget:
        for table in archive.select(**selection):
            work = _work(_good(table), names, task.destination, sources, group_pixels)
            if not work.num_rows:
                continue
            longest = _longest(task.codec, max(_largest(table), group_pixels))
            for row in stream(work, Stages(fetch_outputs, RegrowImages, task), budget, longest):
                receipt = read_receipt(row)
                result.add(receipt)
                listen(receipt)
    return result


def _good(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["status"], OK))


def _longest(codec: AnyCodec, pixels: int) -> float:
    """Return after how many seconds without a row of at most so many pixels a run counts as stuck."""
    return NO_PROGRESS_SECONDS + 2 * codec_seconds(codec, GROUP_IMAGES, pixels, "cpu", up=True)


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
    return pa.table({"outputs": pa.array([msgspec.msgpack.encode(group) for group in groups], pa.binary())})


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
