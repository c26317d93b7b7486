"""Codecs in the latents of an autoencoder: their settings, and payloads made and grown with a system of networks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta
from msgspec.structs import replace

from ops.codecs.base import Box, Payload, Runtime, is_broken_device, refusal
from ops.codecs.fitting import grown, too_much
from ops.codecs.learned import LearnedConfig
from ops.codecs.marked import mark_of
from ops.codecs.noise import noise_for
from ops.codecs.resampling import check_box, shrunk_size
from ops.codecs.tile_facts import EXTRA, pack_facts
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.marks import write_mark
from ops.rescalers.geometry import BLOCK, whole
from ops.rescalers.passes import Anchor, Border, Cast, Encoding, Passes, Posterior, Precision, Quantiser, Tiling
from ops.thumbnails import ThumbnailType, decode_thumbnail, encode_lossless

if TYPE_CHECKING:
    from torch import Tensor

    from ops.rescalers.system import System

# clusters/budget.py divides a worker's memory by this into its two numbers of pixels.
BYTES_PER_PIXEL = 12

# What TADM's authors do, in full precision: an image is encoded split, decoded whole, and noise stands for rounding.
PARITY: dict[str, Any] = {
    "precision": "float32",
    "posterior": "sample",
    "quantiser": "noise",
    "cast": "floor",
    "border": "kept",
    "tiling": "official",
    "encoding": "split-1024",
    "cell": 8320,
}


class LatentConfig(LearnedConfig, frozen=True, kw_only=True):
    """Settings of such a codec; `ops.rescalers.passes` says what those of the passes mean.

    `threads` are torch's for one operation on processors: they change last bits.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"parity": PARITY}

    precision: Precision = "bfloat16"
    posterior: Posterior = "mode"
    quantiser: Quantiser = "round"
    cast: Cast = "round"
    border: Border = "cut"
    tiling: Tiling = "symmetric"
    encoding: Encoding = "cells"
    anchor: Anchor = "none"
    tile: Annotated[int, Meta(ge=16, le=1024, multiple_of=8)] = 96
    overlap: Annotated[int, Meta(ge=0, le=512, multiple_of=8)] = 32
    tile_batch: Annotated[int, Meta(ge=1, le=256)] = 8
    compiled: bool = False
    cell: Annotated[int, Meta(ge=128, le=1 << 16, multiple_of=64)] = 1024
    cell_overlap: Annotated[int, Meta(ge=0, le=1024, multiple_of=64)] = 128
    seed: Annotated[int, Meta(ge=0)] = 0
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    thumbnail: ThumbnailType = "auto"

    def __post_init__(self) -> None:
        for side, overlap in (("tile", "overlap"), ("cell", "cell_overlap")):
            if 2 * getattr(self, overlap) > getattr(self, side):
                raise ValueError(
                    f"{overlap} {getattr(self, overlap)} is more than half of {side} {getattr(self, side)}: "
                    f"write at most {getattr(self, side) // 2}"
                )

    def spelling(self) -> str:
        """Return such as `tadm-x16`."""
        return f"{self.name}-x{self.factor}"

    def thumbnail_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the thumbnail of an image."""
        if self.border == "kept":
            return shrunk_size(whole(width), whole(height), self.factor)
        return shrunk_size(width, height, self.factor)

    def passes(self) -> Passes:
        """Return how the networks are run."""
        return Passes(**{name: getattr(self, name) for name in Passes.__struct_fields__})

    def network(self) -> "System":
        """Return the whole system, its tensors as torch initialises them."""
        raise NotImplementedError(f"{type(self).__name__} must say which networks it has")

    def load(self, runtime: Runtime) -> "LatentCodec":
        """Find the weights, prove them, and build the codec. Raises Unavailable where they cannot be had."""
        self.check_installed()
        from ops.rescalers.loading import load_system  # noqa: PLC0415  it imports torch

        return LatentCodec(self, load_system(self, runtime), runtime)


class LatentCodec:
    """Shrinks and grows with a system of networks; what it grows is invented in its detail.

    On processors each image goes alone, as many beside one another as the worker has memory for; on an accelerator one
    caller at a time, and tiles of all images of a call share passes of one shape.
    """

    generative = True

    def __init__(self, config: LatentConfig, system: "System", runtime: Runtime) -> None:
        from ops.rescalers.memory import tensor_bytes, working_bytes  # noqa: PLC0415  it imports torch

        self._config, self._system = config, system
        self._digest = config.digest()
        self.concurrent = not system.batched
        memory = (runtime.pixel_budget + runtime.large_pixels) * BYTES_PER_PIXEL
        self._turns = BoundedSemaphore(max(1, (memory - tensor_bytes(system)) // working_bytes(system)))

    def encode(self, images: Sequence[Pixels]) -> list[Payload | Failure]:
        """Return a payload per image, or why there is none."""
        return [self._encode(pixels) for pixels in images]

    def decode(self, payloads: Sequence[Payload]) -> list[Pixels]:
        """Return images of the payloads' sizes. Raises ImageError for a thumbnail that cannot be read."""
        with self._running():
            return self._grown(payloads, None)

    def decode_region(self, payload: Payload, box: Box) -> Pixels:
        """Return the crop `box` of `decode`; only what the region stands on goes through the U-Net and the decoder."""
        check_box(box, payload.width, payload.height)
        with self._running():
            return self._grown([payload], box)[0]

    def _encode(self, pixels: Pixels) -> Payload | Failure:
        height, width = pixels.shape[:2]
        try:
            with self._running():
                small, extras = self._shrunk(pixels)
            mark = mark_of(self._config, self._digest, small, width, height)
            thumbnail, media_type = encode_lossless(small, self._config.thumbnail, write_mark(mark))
        except Exception as error:
            if is_broken_device(error):
                raise
            return self._refusal(error)
        return Payload(thumbnail, media_type, width, height, extras)

    def _shrunk(self, pixels: Pixels) -> tuple[Pixels, dict[str, bytes]]:
        """Return the thumbnail as it is kept, and what is known of the tiles."""
        from ops.rescalers.levels import from_levels, quantised, to_levels  # noqa: PLC0415  it imports torch

        config, system = self._config, self._system
        height, width = pixels.shape[:2]
        noise = noise_for(
            config.seed,
            width,
            height,
            latents=system.latent_channels if config.posterior == "sample" else None,
            scale=config.factor if config.quantiser == "noise" else None,
        )
        y, z = system.shrunk(from_levels(_padded(pixels)), noise.posterior)
        self._check(y)
        y = quantised(y, config.quantiser, None if noise.quantisation is None else noise.quantisation.to(y))
        columns, rows = config.thumbnail_size(width, height)
        # Rounded values are levels but for the last bit, which cutting off would turn into a whole level.
        small = to_levels(y[:, :, :rows, :columns], "round" if config.quantiser == "round" else config.cast)
        return small, self._extras(small, z, width, height)

    def _extras(self, small: Pixels, z: "Tensor", width: int, height: int) -> dict[str, bytes]:
        """Return what is kept beside the thumbnail: what is known of the tiles."""
        from ops.rescalers.levels import from_levels  # noqa: PLC0415  it imports torch

        facts = self._system.facts(z, self._system.padded(from_levels(small), height, width))
        return {EXTRA: pack_facts(facts)} if facts else {}

    def _grows_from(self, payload: Payload) -> "Tensor":
        """Return what the system grows: here the thumbnail."""
        from ops.rescalers.levels import from_levels  # noqa: PLC0415  it imports torch

        small = decode_thumbnail(payload.thumbnail, self._config.thumbnail_size(payload.width, payload.height))
        return from_levels(small)

    def _grown(self, payloads: Sequence[Payload], box: Box | None) -> list[Pixels]:
        from ops.rescalers.growing import Growing  # noqa: PLC0415  it imports torch
        from ops.rescalers.levels import to_levels  # noqa: PLC0415
        from ops.rescalers.tiles import Region  # noqa: PLC0415

        region = None if box is None else Region(box.top, box.left, box.bottom, box.right)
        growing = [Growing(self._grows_from(one), one.height, one.width, region) for one in payloads]
        return [to_levels(self._check(x), self._config.cast) for x in grown(self._config, self._system, growing)]

    def _check(self, x: "Tensor") -> "Tensor":
        """Return what networks made. Raises ImageError where some of it is no number, which would turn black."""
        if not bool(x.isfinite().all()):
            message = (
                f"{self._config.spelling()} came to no numbers in {self._config.precision}: use bfloat16 or float32, "
                "or look whether the weights are whole"
            )
            raise ImageError(FailureCode.REFUSED, message)
        return x

    def _refusal(self, error: Exception) -> Failure:
        """Return why an image has no payload; for want of memory, with the number that would be enough."""
        failure = refusal(error)
        if failure.code is not FailureCode.OUT_OF_MEMORY:
            return failure
        return Failure(failure.code, too_much(self._config, self._system, error))

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Run torch in one order and with the threads of the settings, both of which decide last bits."""
        import torch  # noqa: PLC0415  the base install has none

        from ops.networks.exact import exactly  # noqa: PLC0415  it imports torch

        before = torch.get_num_threads()  # each thread has a number of its own
        torch.set_num_threads(self._config.threads)
        try:
            with self._turns, exactly(self._system.device):
                yield
        finally:
            torch.set_num_threads(before)


def _padded(pixels: Pixels) -> Pixels:
    """Return pixels mirrored to whole blocks, while they take three bytes each and not twelve."""
    height, width = pixels.shape[:2]
    if not (height % BLOCK or width % BLOCK):
        return pixels
    return np.pad(pixels, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="reflect")


def parity(config: LatentConfig) -> LatentConfig:
    """Return a config that runs the published forward pass in full precision."""
    return replace(config, **config.presets["parity"])
