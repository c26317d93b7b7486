"""Before a large archive is made with a learned codec: a few of its images are regrown by the driver."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from ops.archive.layout import ArchiveError, Location, Reading
from ops.archive.plan import Plan, read_chunk, read_index
from ops.codecs.base import CodecConfig
from ops.codecs.learned import LearnedConfig
from ops.decoding import decode
from ops.encoding import limits_of
from ops.images import ImageError, Pixels
from ops.preflight import MOST_SIDE, NUM_IMAGES, compare, cut
from ops.readers.base import Entry
from ops.sources import fetch
from pipelines.deadline import likely_seconds
from pipelines.documents import CodecHere
from pipelines.events import Listener, Noted, Preflighting
from pipelines.planning import Target

# Smaller runs show what a codec is worth themselves.
LARGE_RUN = 64
CANDIDATES = 8
NOT_OF_UNTRAINED = "No preflight: untrained weights were allowed"


def is_due(config: CodecConfig, plan: Plan, remaining: pa.Table) -> bool:
    """Say whether a run is large, of a learned codec, and the first of its archive: nothing is done yet."""
    new = plan.generation == 0 and remaining.num_rows == plan.num_chunks
    return new and plan.num_images > LARGE_RUN and isinstance(config, LearnedConfig)


def preflight(
    here: CodecHere, target: Target, plan: Plan, listen: Listener, undo: Callable[[], bool] | None = None
) -> None:
    """Have a codec regrow a few images of a plan. Raises ArchiveError with the numbers where bicubic is far better.

    Then `undo`, if given, removes the archive that this run has begun, and says whether it could.
    """
    location, document = target.location, target.document
    if document.untrained:
        listen(Noted(NOT_OF_UNTRAINED))
        return
    images = images_of(location, plan, document.reading)
    if not images:
        return  # none of them can be read: their rows will say why
    listen(_announced(here, images))
    found = compare(here.config, here.codec(), images)
    if not found.passed:
        gone = undo is not None and undo()
        left = "No archive was left" if gone else f"To use others remove {location.url}, where nothing is archived yet"
        raise ArchiveError(
            f"preflight: {found.line()}; are these the right weights? {left}; --no-preflight archives all the same"
        )
    listen(Noted(f"Preflight: {found.line()}"))


def _announced(here: CodecHere, images: Sequence[Pixels]) -> Preflighting:
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    seconds = likely_seconds(here.config, len(images), pixels, here.device)
    return Preflighting(num_images=len(images), most_side=MOST_SIDE, seconds=seconds, device=here.device)


def images_of(location: Location, plan: Plan, reading: Reading) -> list[Pixels]:
    """Return the middles of some images spread over a plan: of some neighbours the smallest that can be read."""
    found = (_first_good(entries, reading) for entries in _spread(location, plan, read_index(location, plan)))
    return [pixels for pixels in found if pixels is not None]


def _spread(location: Location, plan: Plan, index: pa.Table) -> Iterator[list[Entry]]:
    """Yield neighbours at several places of a plan, the smallest files first."""
    ends = np.cumsum(index["num_images"].to_numpy())
    for at in range(NUM_IMAGES):
        position = (2 * at + 1) * plan.num_images // (2 * NUM_IMAGES)
        chunk = int(np.searchsorted(ends, position, side="right"))
        row = index.slice(chunk, 1).to_pylist()[0]
        entries = read_chunk(location, plan.generation, row["file"], row["row_group"], row["row"]).entries
        first = position - (int(ends[chunk]) - len(entries))
        yield sorted(islice(entries, first, first + CANDIDATES), key=lambda entry: entry.expected_bytes)


def _first_good(entries: Sequence[Entry], reading: Reading) -> Pixels | None:
    for entry in entries:
        [encoded] = fetch([entry], 1, limits_of(reading))
        if isinstance(encoded, bytes):
            try:
                return cut(decode(encoded, limits_of(reading), reading.background, "none").pixels)
            except (ImageError, MemoryError):
                continue
    return None
