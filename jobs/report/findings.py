"""Everything that a report is made of, gathered from an evaluation; the modules beside this one only tell it."""

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from ops.codecs.parameters import Parameters
from ops.evaluation.document import EvaluationDocument
from ops.evaluation.features import SetScore
from ops.evaluation.plan import EvaluationPlan
from ops.images import Pixels
from ops.timesteps import Tiles


class Shown(Struct, frozen=True, kw_only=True):
    """One candidate's reconstruction in the gallery; `settings` and bytes as in the score rows."""

    candidate: str
    pixels: Pixels


class GalleryImage(Struct, frozen=True, kw_only=True):
    """An image to look at, and why it was chosen, such as "worst by LPIPS (AlexNet)".

    `reference` and what is shown may be whole, or cut to where `left` and `top` say in an image of `whole` (width,
    height), of which `overview` is a small picture: whole photographs of every candidate would take gigabytes.
    """

    key: str
    why: str
    reference: Pixels
    thumbnail: bytes
    media_type: str
    shown: list[Shown]
    left: int = 0
    top: int = 0
    whole: tuple[int, int] | None = None
    overview: Pixels | None = None


class Timing(Struct, frozen=True, kw_only=True):
    """How long a codec took on this machine, one image at a time and one thread, over `num_images`.

    Seconds per megapixel of the original.
    """

    codec: str
    down_seconds: float
    up_seconds: float
    num_images: int
    megapixels: float


class Findings(Struct, frozen=True, kw_only=True):
    """An evaluation as a whole.

    `table` has the columns of ops.evaluation.scores, sorted by key and then by candidate in the document's order.
    `error_maps` has each candidate's mean error map, where the table has none of single images. `sets` holds, by
    candidate and metric column, the metrics of the whole set. `archive_bytes` are the bytes of all files of an archive
    but its escrow, which is `escrow_bytes`; None where no archive was judged. `archive_pixels` are those of all
    originals that it holds, which may be more than were judged. `stacks` says how many works were judged with which
    versions. `tiles` has the tiles of candidates that predict time-steps, `parameters` those of codecs with networks.
    """

    url: str
    document: EvaluationDocument
    plan: EvaluationPlan
    table: pa.Table
    sets: dict[str, dict[str, SetScore]] = {}
    error_maps: dict[str, NDArray[np.float64]] = {}
    gallery: list[GalleryImage] = []
    timings: list[Timing] = []
    archive_bytes: int | None = None
    archive_pixels: int = 0
    escrow_bytes: int = 0
    stacks: dict[str, int] = {}
    tiles: dict[str, Tiles] = {}
    parameters: dict[str, Parameters] = {}
