"""nano as it is shipped: seams and drift of colour over a large photograph, and how many megapixels a core does."""

import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.children import call
from bench.report import Table

if TYPE_CHECKING:
    from torch import Tensor

# Squares whose means are compared for drift of colour, in pixels.
SQUARE = 256


class Settings(Struct, frozen=True, kw_only=True):
    """Which codecs, over how many photographs, each fitted to `pixels` (width, height)."""

    codecs: tuple[str, ...] = ("nano-x16",)
    num_images: int = 2
    pixels: tuple[int, int] = (5472, 3648)


QUICK = Settings(num_images=1, pixels=(1536, 1280))


def measure(settings: Settings) -> list[Table]:
    """Shrink and grow each photograph by tiles and cells, and whole."""
    seen = [call("nano:run_nano", {"codec": codec, **msgspec.to_builtins(settings)}) for codec in settings.codecs]
    rows = [row for one in seen for row in one["rows"]]
    megapixels = settings.pixels[0] * settings.pixels[1] / 1e6
    return [
        Table(
            title="nano, with the weights that come with regrow",
            columns=[
                "codec", "photograph", "largest", "mean", "thumbnail, largest", "at tiles", "of the whole there",
                "at cells", "of the whole there", "drift, mean", "drift, largest", "MP/s down", "MP/s up",
            ],
            rows=rows,
            notes=[
                f"photographs fitted to {settings.pixels[0]}x{settings.pixels[1]} ({megapixels:.1f} MP), one thread, "
                "float32; by tiles and cells against the whole at once: differences in levels of 255",
                "at tiles, at cells: mean step across their edges over the mean step across other multiples of 8; of "
                "the whole: the same places where nothing was cut; no seam where the two are equal",
                f"drift: of the means of squares of {SQUARE} pixels, of each colour, from the original's, in levels",
            ],
        )
    ]  # fmt: skip


def run_nano(codec: str, num_images: int, pixels: tuple[int, int], **_rest: Any) -> dict[str, Any]:
    """Do it with one codec (a child)."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from PIL import ImageOps  # noqa: PLC0415

    from bench.photographs import load_samples  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.binding import bind  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415

    torch.set_num_threads(1)
    config: Any = bind(codec_from(codec))
    cut = config.load(Runtime())
    whole = replace(config, tile=1024, overlap=0, cell=1 << 16, cell_overlap=0).load(Runtime())
    rows = []
    for at, sample in enumerate(load_samples()[:num_images]):
        original = np.asarray(ImageOps.fit(sample, tuple(pixels)))
        rows.append([config.spelling(), at, *_compared(cut, whole, original, config)])
    return {"rows": rows}


def _compared(cut: Any, whole: Any, original: Any, config: Any) -> list[float]:
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from bench.seams import FACTOR, edges, levels_apart, seam_energy  # noqa: PLC0415
    from ops.rescalers.levels import from_levels  # noqa: PLC0415
    from ops.thumbnails import decode_thumbnail  # noqa: PLC0415

    height, width = original.shape[:2]
    begun = time.perf_counter()
    payload = cut.encode([original])[0]
    shrunk = time.perf_counter()
    grown = cut.decode([payload])[0]
    done = time.perf_counter()
    uncut = whole.encode([original])[0]
    size = config.thumbnail_size(width, height)
    small, other = (decode_thumbnail(one.thumbnail, size).astype(int) for one in (payload, uncut))
    made, at_once = (from_levels(one) for one in (grown, whole.decode([payload])[0]))
    places = height // FACTOR, width // FACTOR
    with torch.device("meta"):
        system = config.network()  # for where it cuts
    at_tiles, at_cells = edges(system.tiles(*places)), edges(system.cells(*places))
    energies = [seam_energy(image, *at) for at in (at_tiles, at_cells) for image in (made, at_once)]
    drift = abs(_means(made) - _means(from_levels(original))) * 127.5
    megapixels = height * width / 1e6
    return [
        *levels_apart(made, at_once),
        float(np.abs(small - other).max()),
        *energies,
        float(drift.mean()),
        float(drift.max()),
        megapixels / (shrunk - begun),
        megapixels / (done - shrunk),
    ]


def _means(image: "Tensor") -> "Tensor":
    from torch.nn.functional import avg_pool2d  # noqa: PLC0415

    return avg_pool2d(image, SQUARE)
