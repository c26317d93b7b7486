"""regrow for notebooks and scripts: open an archive, look at it, regrow. Ray and torch load only where they work."""

# ruff: noqa: PLC0415  heavy imports wait inside the functions that need them

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

import ops

if getattr(ops, "REGROW", None) != "regrow":
    _where = getattr(ops, "__file__", None) or next(iter(getattr(ops, "__path__", ["?"])))
    raise ImportError(
        f"{_where} is another package called `ops`, found before regrow's: uninstall that one (pip uninstall ops), "
        "or put regrow's folder first on PYTHONPATH"
    )

from jobs.opened import Archive, ArchivedImage, NoSuchKey, Selection
from ops.archive import reading
from ops.archive.layout import ArchiveError, Reading
from ops.codecs.base import Codec, Runtime
from ops.images import ImageError, Pixels
from ops.looking import Picture, to_pixels
from ops.stack import regrow_version

if TYPE_CHECKING:
    from jobs.evaluating import EvaluateResult
    from ops.archive.layout import Escrow
    from pipelines.events import Event, Listener
    from pipelines.reconstruct import Reconstructed
    from pipelines.requests import Changed

__all__ = [
    "Archive", "ArchiveError", "ArchivedImage", "ImageError", "NoSuchKey", "Selection", "archive", "decode",
    "evaluate", "load_codec", "open", "psnr", "reconstruct", "ssim",
]  # fmt: skip
__version__ = regrow_version()


Weights: TypeAlias = str | Path | Sequence[str | Path]
"""Where a learned codec finds its weights: a file, a folder, a URL, or several of them."""


def open(url: str | Path, *, weights: Weights = (), **runtime: Any) -> Archive:  # noqa: A001  read as rg.open
    """Open a sealed archive: a folder, s3:// or any URL that fsspec knows. Raises ArchiveError where there is none.

    `weights` are where those of its codec are, if they are neither in it nor in the folder of weights; `runtime`
    (device, threads, pixel_budget) says how fast it may regrow.
    """
    return Archive(reading.Archive.open(str(url)), Runtime(weights=_places(weights), **runtime))


def archive(
    source: str | Path,
    url: str | Path,
    codec: str | None = None,
    *,
    changed: "Changed" = "refuse",
    all_files: bool = False,
    weights: Weights = (),
    escrow: "Escrow | None" = None,
    allow_untrained: bool = False,
    preflight: bool = True,
    address: str | None = None,
    listen: "Listener | None" = None,
    **how: Any,
) -> Archive:
    """Archive a source through Ray and return the archive, opened. Run again, it adds what is new at the source.

    Warns of what could not be listed; `failures()` of the archive are what could not be archived.

    `codec` is spelled as in "bicubic-x16"; left out, it is the archive's own or, for a new one, "nano-x16". A learned
    one finds its `weights` where you say, in the folder of weights, or with regrow; `escrow` ("full" or "reference")
    says once whether large ones travel with the archive; untrained ones are refused unless `allow_untrained`;
    `preflight` compares a few images with bicubic before a large run. `how` are fields of Reading (background as
    "#rrggbb", metadata, max_pixels, ...). Raises ValueError for what cannot be asked for, ArchiveError or SourceError
    where the request cannot be met.
    """
    from jobs.requests import reading_for
    from jobs.tally import Tally
    from ops.codecs.names import codec_from
    from pipelines import archive as pipeline
    from pipelines.events import nobody
    from pipelines.requests import ArchiveRequest

    typed = msgspec.convert(how, Reading)
    tally = Tally()
    request = ArchiveRequest(
        source=str(source), archive=str(url), codec=None if codec is None else codec_from(codec), changed=changed,
        reading=reading_for(str(url), {name: getattr(typed, name) for name in how}),
        all_files=all_files, weights=_places(weights), escrow=escrow, allow_untrained=allow_untrained,
        preflight=preflight, address=address,
    )  # fmt: skip

    def tell(event: "Event") -> None:
        tally.add(event)
        (listen or nobody)(event)

    try:
        pipeline.archive(request, tell)
    except pipeline.NothingToDo as nothing:  # a cell that is run again finds its archive as it was
        tally.problems = list(nothing.problems)
    if tally.problems:
        said = f"{len(tally.problems)} problem{'s' * (len(tally.problems) > 1)} while listing {source}"
        warnings.warn(f"{said}, so images may be missing: {tally.problems[0]}", stacklevel=2)
    return open(url, weights=weights)


def reconstruct(url: str | Path, destination: str | Path, **selection: Any) -> "Reconstructed":
    """Regrow images into files below a destination, through Ray; return the counts and what failed.

    `selection` are fields of ReconstructRequest: keys, keys_from, match, where, format, quality, metadata,
    weights, address.
    """
    from pipelines import reconstruct as pipeline
    from pipelines.requests import ReconstructRequest

    request = msgspec.convert({"archive": str(url), "destination": str(destination), **selection}, ReconstructRequest)
    return pipeline.reconstruct(request)


def evaluate(
    target: str | Path,
    *,
    codecs: Sequence[str] = (),
    protocol: str = "regrow",
    metrics: Sequence[str] = (),
    weights: Weights = (),
    **how: Any,
) -> "EvaluateResult":
    """Judge an archive, or codecs on source images, through Ray; return the verdicts and where the report lies.

    `metrics` are columns of the protocol, all without any; `how` are fields of EvaluateRequest: references, baselines,
    rates, destination, keys, match, where, sample, seed, allow_untrained, address. `weights` are those of
    learned codecs. Run again, it takes up where it stopped.
    """
    from jobs.evaluating import report
    from jobs.protocol_files import read_protocol
    from jobs.requests import only
    from ops.codecs.names import codec_from
    from pipelines import evaluate as pipeline
    from pipelines.requests import EvaluateRequest

    chosen = read_protocol(protocol)
    request = EvaluateRequest(
        target=str(target), codecs=[codec_from(spelling) for spelling in codecs],
        protocol=only(chosen, list(metrics)) if metrics else chosen, weights=_places(weights), **how,
    )  # fmt: skip
    return report(pipeline.evaluate(request))


def load_codec(spelling: str, *, weights: Weights = (), allow_untrained: bool = False, **runtime: Any) -> Codec:
    """Return a codec: `encode` takes images of uint8 (height, width, 3), `decode` its payloads.

    A learned one runs on the file of `weights` that fits it, there or in the folder of weights. Raises WeightsError
    where that holds untrained ones, unless `allow_untrained`.

    >>> import numpy as np
    >>> codec = load_codec("bicubic-x16", threads=1)
    >>> [payload] = codec.encode([np.zeros((480, 640, 3), np.uint8)])
    >>> payload.media_type, codec.decode([payload])[0].shape
    ('image/webp', (480, 640, 3))
    """
    from ops.codecs.binding import bind, refuse_untrained, weights_of
    from ops.codecs.names import codec_from

    places = _places(weights)
    codec = bind(codec_from(spelling), places)
    refuse_untrained(codec, weights_of(codec, places), allowed=allow_untrained)
    return codec.load(Runtime(weights=places, **runtime))


def _places(weights: Weights) -> tuple[str, ...]:
    return (str(weights),) if isinstance(weights, str | Path) else tuple(map(str, weights))


def decode(image: str | Path | bytes) -> Pixels:
    """Return the pixels of an image file, given by path, URL or content: uint8 sRGB (height, width, 3), upright.

    Transparency is laid over white, as archives do by default. Raises ImageError where it cannot be decoded.
    """
    from ops.decoding import decode as decode_image
    from ops.stores import absolute, open_store

    if not isinstance(image, bytes):
        url = absolute(str(image))
        image = open_store(url).read(url)
    return decode_image(image).pixels


def psnr(reference: Picture, reconstruction: Picture) -> float:
    """Return the peak signal-to-noise ratio of two images of one size, in dB; arrays or PIL images.

    >>> import numpy as np
    >>> round(psnr(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 16, np.uint8)), 2)
    24.05
    """
    from ops.metrics.psnr import psnr as score

    return score(to_pixels(reference), to_pixels(reconstruction))


def ssim(reference: Picture, reconstruction: Picture) -> float:
    """Return the mean structural similarity of two images of one size, at most 1; arrays or PIL images."""
    from ops.metrics.ssim import ssim as score

    return score(to_pixels(reference), to_pixels(reconstruction))
