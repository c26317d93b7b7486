"""What a run's networks are worth on photographs that no step sees: made small and grown as at run time, and judged."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from ops.codecs.noise import noise_for
from ops.codecs.resampling import grow, shrink
from ops.images import Pixels
from ops.metrics.psnr import psnr
from ops.networks.latent_networks import decode
from ops.rescalers.geometry import whole
from ops.rescalers.levels import from_levels, quantised, to_levels
from ops.rescalers.padding import reflected
from ops.rescalers.system import System, TileFact
from ops.thumbnails import encode_lossless
from ops.training.decoded import DecodedPhotographs
from ops.training.judging import save_grid, scores_of
from ops.training.photographs import FrozenPhotographs
from ops.training.settings import TrainingSettings
from ops.training.start import Validated
from ops.training.texture import SIDE, grid_energy, grid_levels

GRIDS = "grids"
LARGEST = 512
# In latents, 96 pixels: so that few photographs have many tiles.
FACT_TILE = 12


class Judged(NamedTuple):
    """One photograph's crop, what came back of it, its thumbnail where one was made, and what is known of tiles."""

    key: str
    crop: Pixels
    grown: Pixels
    thumbnail: Pixels | None = None
    facts: Sequence[TileFact] = ()


def validation(folder: Path, settings: TrainingSettings) -> Validated:
    """Return what makes `Run.validated` of a system and the photographs that are held out of its training."""
    return lambda system, photographs: Validation(folder, settings, system, photographs)


class Validation:
    """Judges the middle of each photograph, at most 512 pixels a side, and keeps a picture of it in `grids/`.

    Stages that leave something out are judged on what there is: the autoencoder alone by what it reconstructs, the
    denoiser alone not at all, and nothing at all is where no photograph is held out.
    """

    def __init__(
        self, folder: Path, settings: TrainingSettings, system: System, photographs: FrozenPhotographs
    ) -> None:
        self._folder, self._settings, self._system = folder, settings, system
        self._held_out = photographs.held_out
        self._crops: list[tuple[str, Pixels]] | None = None

    def __call__(self, stage: int, done: int) -> dict[str, float]:
        """Return values for the curves, by their names."""
        objective = self._settings.stages[stage].objective
        if objective == "denoiser":
            return {}
        if self._crops is None:
            self._crops = _crops(self._held_out)
        alone = objective == "autoencoder"
        with running(self._system):
            judged = [(_reconstructed if alone else _regrown)(self._system, *one) for one in self._crops]
        if not judged:
            return {}
        save_grid(self._folder / GRIDS / f"{stage:02}-{done:07}.png", [_row(one, self._system.scale) for one in judged])
        return {**_scores(judged, str(self._system.device)), **_textures(judged), **_thumbnails(self._system, judged)}


@contextmanager
def running(system: System) -> Iterator[None]:
    """Have a system as it runs in a codec, and behind the block as it learns."""
    learning = system.training
    system.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        system.train(learning)


def _crops(held_out: Sequence) -> list[tuple[str, Pixels]]:
    decoded = DecodedPhotographs(FrozenPhotographs(photographs=tuple(held_out)), 0)
    found = ((one.key, decoded.pixels(at)) for at, one in enumerate(held_out))
    return [(key, np.ascontiguousarray(_middle(pixels))) for key, pixels in found if pixels is not None]


def _middle(pixels: Pixels) -> Pixels:
    height, width = (min(side, LARGEST) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _reconstructed(system: System, key: str, crop: Pixels) -> Judged:
    height, width = crop.shape[:2]
    x = reflected(from_levels(crop), whole(height), whole(width))
    z = System.encoded(system, x, _noise(system, crop)[0])
    grown = decode(system.vae, system.cast(z)).float().clamp(-1, 1)
    return Judged(key, crop, to_levels(grown[:, :, :height, :width]))


def _regrown(system: System, key: str, crop: Pixels) -> Judged:
    height, width = crop.shape[:2]
    posterior, uniform = _noise(system, crop)
    y, z = system.shrunk(from_levels(crop), posterior)
    y = quantised(y, system.passes.quantiser, uniform)
    small = to_levels(y[:, :, : -(-height // system.scale), : -(-width // system.scale)])
    grown = to_levels(system.up(from_levels(small), height, width))
    return Judged(key, crop, grown, small, _facts(system, z, system.padded(from_levels(small), height, width)))


def _noise(system: System, crop: Pixels) -> tuple[Tensor | None, Tensor | None]:
    height, width = crop.shape[:2]
    latents = system.latent_channels if system.passes.posterior == "sample" else None
    scale = system.scale if system.passes.quantiser == "noise" else None
    posterior, uniform = noise_for(0, width, height, latents=latents, scale=scale)
    return posterior, None if uniform is None else uniform.to(system.device)


def _facts(system: System, z: Tensor, y: Tensor) -> Sequence[TileFact]:
    """Return what is known of tiles, cut smaller than they run."""
    before = system.passes
    system.passes = replace(before, tile=FACT_TILE, overlap=0)
    try:
        return system.facts(z, y)
    finally:
        system.passes = before


def _row(one: Judged, scale: int) -> tuple[str, dict[str, Pixels]]:
    """Return a photograph's name and its pictures by their headings; beside a thumbnail's, what bicubic makes of it."""
    if one.thumbnail is None:
        return one.key, {"original": one.crop, "decoded": one.grown}
    height, width = one.crop.shape[:2]
    bicubic = grow(shrink(one.crop, scale), scale, width, height)
    return one.key, {
        "original": one.crop,
        "thumbnail, enlarged": one.thumbnail,
        "bicubic, for comparison": bicubic,
        "regrown: detail is generated": one.grown,
    }


def _scores(judged: Sequence[Judged], device: str) -> dict[str, float]:
    """Return the mean of each score over the photographs that have it."""
    found = scores_of([(one.crop, one.grown) for one in judged], device)
    return {name: float(np.mean(numbers)) for name, numbers in found.items() if len(numbers)}


def _textures(judged: Sequence[Judged]) -> dict[str, float]:
    large = [(one.crop, one.grown) for one in judged if min(one.crop.shape[:2]) >= SIDE]
    if not large:
        return {}
    found = [grid_energy(*pair) for pair in large]
    energies = {f"grid_{period}": float(np.median([one[period] for one in found])) for period in found[0]}
    return energies | {"grid_levels": float(np.median([grid_levels(*pair) for pair in large]))}


def _thumbnails(system: System, judged: Sequence[Judged]) -> dict[str, float]:
    """Return how thumbnails compare with bicubic ones, and predicted time-steps with the error that is really there."""
    pairs = [(one.thumbnail, shrink(one.crop, system.scale)) for one in judged if one.thumbnail is not None]
    if not pairs:
        return {}
    ours, usual = (sum(len(encode_lossless(pair[at], "image/webp", b"")[0]) for pair in pairs) for at in (0, 1))
    values = {
        "thumbnail_psnr": float(np.mean([psnr(small, thumbnail) for thumbnail, small in pairs])),
        "thumbnail_bytes": ours / usual,
    }
    facts = [fact for one in judged for fact in one.facts]
    if not facts:
        return values
    steps, errors = np.array([fact.timestep for fact in facts]), np.array([fact.error for fact in facts])
    return values | {
        "timestep_pearson": correlation(steps, errors),
        "timestep_spearman": correlation(ranks(steps), ranks(errors)),
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two columns; nan of fewer than three numbers, and where one never changes."""
    if len(a) < 3 or not (np.ptp(a) and np.ptp(b)):
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Return the rank of each number, from 1; equal ones share the mean of theirs."""
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
