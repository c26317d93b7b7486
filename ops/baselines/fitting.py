"""What conventional formats make of as many bytes: the highest quality that fits, at full size or after a downscale.

Files are as lean as Pillow writes them: nothing but the picture, without the XMP that a thumbnail in an archive has.
A reconstruction is bit for bit what the codec `jpeg-qN-xM` gives.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from msgspec import Struct

from ops.baselines.search import USUAL, at_scale, highest_above, highest_fitting
from ops.codecs.base import Runtime, refusal
from ops.codecs.conventional import AvifConfig, ConventionalConfig, JpegConfig, JxlConfig, WebpConfig
from ops.codecs.resampling import grow, shrink, shrunk_size
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.metrics.psnr import psnr
from ops.thumbnails import decode_thumbnail

Format: TypeAlias = Literal["jpeg", "webp", "avif", "jxl"]

_CONFIGS: dict[Format, type[ConventionalConfig]] = {
    "jpeg": JpegConfig,
    "webp": WebpConfig,
    "avif": AvifConfig,
    "jxl": JxlConfig,
}
# The plug-in for JPEG XL takes quality 100 for lossless, and libjxl then refuses to write.
_TOP: dict[Format, int] = {"jpeg": 100, "webp": 100, "avif": 100, "jxl": 99}
# A search begins from how busy the picture is at this scale and quality: 1/64 of its pixels.
_FIRST_SCALE = 8
_FIRST_QUALITY = 30


class Fit(Struct, frozen=True, kw_only=True):
    """One file and what it grows back to. `larger` says that even quality 1 takes more bytes than were allowed."""

    format: Format
    down: bool
    quality: int
    scale: int
    num_bytes: int
    larger: bool
    pixels: Pixels

    @property
    def settings(self) -> str:
        """Quality and scale, such as `q23 x4`."""
        return f"q{self.quality}" + (f" x{self.scale}" if self.scale > 1 else "")


class Available(NamedTuple):
    """The formats that can be written here, and of each other one why not, with the remedy."""

    formats: tuple[Format, ...]
    left_out: dict[Format, str]


def available_formats() -> Available:
    """Return which of the four formats can be written here."""
    left_out: dict[Format, str] = {}
    for name, config in _CONFIGS.items():
        try:
            config(quality=1).load(Runtime())
        except ImageError as error:
            left_out[name] = error.failure.message
        except ImportError as error:
            left_out[name] = str(error)
    return Available(tuple(name for name in get_args(Format) if name not in left_out), left_out)


def fit(
    format: Format,  # noqa: A002  # the word of the field
    reference: Pixels,
    num_bytes: int,
    scales: Sequence[int] = (2, 4, 8),
) -> list[Fit | Failure]:
    """Return the fit at full size and that of the best downscale: `Baseline.full` and `Baseline.down`."""
    baseline = Baseline(format, reference)
    return [baseline.full(num_bytes), baseline.down(num_bytes, scales)]


def fit_rate(
    format: Format,  # noqa: A002  # the word of the field
    reference: Pixels,
    bits_per_pixel: float,
    scales: Sequence[int] = (1, 2, 4, 8),
) -> Fit | Failure:
    """Return the best fit of all scales within so many bits per pixel: `Baseline.rate`, which is cheaper for many."""
    return Baseline(format, reference).rate(bits_per_pixel, scales)


class Baseline:
    """One image in one format. It keeps the files it has made, for other numbers of bytes; answers are the same."""

    def __init__(self, format: Format, reference: Pixels) -> None:  # noqa: A002  # the word of the field
        self._format: Format = format
        self._reference = reference
        self._small: dict[int, Pixels] = {1: reference}
        self._files: dict[tuple[int, int], bytes] = {}

    def full(self, num_bytes: int) -> Fit | Failure:
        """Return the fit at full size: a quality q whose file fits while that of q + 1 does not, or the highest.

        Sizes do not strictly rise with quality, so there may be several such q: the search finds one, always the same,
        and looks at the few above it, of which it takes the highest that fits (ops.baselines.search.highest_above).
        Where not even quality 1 fits, it is that, marked larger. Where the format cannot hold the image: Failure.
        """
        return self._best(num_bytes, (1,))

    def down(self, num_bytes: int, scales: Sequence[int] = (2, 4, 8)) -> Fit | Failure:
        """Return the fit, as of `full`, at the scale with the highest PSNR (RGB) among those that fit.

        Of equals the smaller file, then the smaller scale; where none fits, the smallest file of quality 1, marked
        larger. Scales at which the format cannot hold the picture take no part; where that is all of them: Failure.
        """
        if not scales or min(scales) < 2:
            raise ValueError(f"scales {list(scales)}: give one or more whole numbers from 2")
        return self._best(num_bytes, scales)

    def rate(self, bits_per_pixel: float, scales: Sequence[int] = (1, 2, 4, 8)) -> Fit | Failure:
        """Return the same for a number of bits per pixel of the reference, its bytes rounded down."""
        height, width = self._reference.shape[:2]
        return self._best(math.floor(bits_per_pixel * height * width / 8), scales)

    def at(self, settings: str) -> Fit | Failure:
        """Return the file of settings that a search has found, as `Fit.settings` has them; it is not searched again."""
        quality, _, scale = settings.partition(" ")
        try:
            return self._made(int(scale[1:] or 1), int(quality[1:]))
        except Exception as error:  # noqa: BLE001  (writers of files raise anything; the reason is kept)
            return refusal(error)

    def _best(self, num_bytes: int, scales: Sequence[int]) -> Fit | Failure:
        if not scales or min(scales) < 1:
            raise ValueError(f"scales {list(scales)}: give one or more whole numbers from 1")
        try:
            _CONFIGS[self._format](quality=1).load(Runtime())  # raises, with the remedy, where it cannot be written
            held = [scale for scale in sorted(set(scales)) if self._holds(scale)]
            return self._best_of(num_bytes, held) if held else self._too_large(max(scales))
        except Exception as error:  # noqa: BLE001  (writers of files raise anything; the reason is kept)
            return refusal(error)

    def _best_of(self, num_bytes: int, scales: list[int]) -> Fit:
        found = [(scale, self._highest(num_bytes, scale)) for scale in scales]
        fitting = [(scale, quality) for scale, quality in found if quality > 0]
        if not fitting:
            return self._made(min(scales, key=lambda scale: len(self._file(scale, 1))), 1, larger=True)
        best = self._made(*fitting[0])
        if len(fitting) > 1:
            best_rank = self._rank(best)
            for scale, quality in fitting[1:]:
                made = self._made(scale, quality)
                rank = self._rank(made)
                if rank > best_rank:
                    best, best_rank = made, rank
        return best

    def _rank(self, made: Fit) -> tuple[float, int]:
        return psnr(self._reference, made.pixels), -made.num_bytes

    def _highest(self, num_bytes: int, scale: int) -> int:
        """Return the quality that `full` describes at this scale, or 0 where none fits."""
        columns, rows = self._size(scale)
        top, usual = _TOP[self._format], USUAL[self._format]

        def size_of(quality: int) -> int:
            return len(self._file(scale, quality))

        found = highest_fitting(
            size_of,
            num_bytes,
            top=top,
            usual=usual,
            num_pixels=columns * rows,
            busyness=self._busyness(scale),
        )
        return highest_above(found, size_of, num_bytes, top=top, usual=usual)

    def _busyness(self, scale: int) -> float:
        """Return a first guess from the picture alone, so that no answer depends on what was asked before."""
        if not self._holds(_FIRST_SCALE):
            return 1.0
        columns, rows = self._size(_FIRST_SCALE)
        num_bytes = len(self._file(_FIRST_SCALE, _FIRST_QUALITY))
        measured = USUAL[self._format].busyness(_FIRST_QUALITY, num_bytes, columns * rows)
        return at_scale(measured, _FIRST_SCALE, scale)

    def _made(self, scale: int, quality: int, larger: bool = False) -> Fit:
        file = self._file(scale, quality)
        height, width = self._reference.shape[:2]
        return Fit(
            format=self._format,
            down=scale > 1,
            quality=quality,
            scale=scale,
            num_bytes=len(file),
            larger=larger,
            pixels=grow(decode_thumbnail(file, self._size(scale)), scale, width, height),
        )

    def _file(self, scale: int, quality: int) -> bytes:
        if scale not in self._small:
            self._small[scale] = shrink(self._reference, scale)
        if (scale, quality) not in self._files:
            config = _CONFIGS[self._format](quality=quality, scale=scale)
            self._files[scale, quality] = config.write(self._small[scale], b"")[0]
        return self._files[scale, quality]

    def _size(self, scale: int) -> tuple[int, int]:
        height, width = self._reference.shape[:2]
        return shrunk_size(width, height, scale)

    def _holds(self, scale: int) -> bool:
        columns, rows = self._size(scale)
        config = _CONFIGS[self._format]
        return max(columns, rows) <= config.side_limit and columns * rows <= config.pixel_limit

    def _too_large(self, scale: int) -> Failure:
        columns, rows = self._size(scale)
        config = _CONFIGS[self._format]
        message = (
            f"{self._format} would keep {columns}x{rows} at a scale of {scale}, and it holds {config.side_limit} "
            f"pixels a side and {config.pixel_limit} in all: use a larger scale"
        )
        return Failure(FailureCode.REFUSED, message)
