"""Crops to train on: the one of (seed, stage, step, index) is a pure function over the frozen list."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ops.images import Pixels
from ops.training.decoded import DecodedPhotographs
from ops.training.draws import generator
from ops.training.photographs import FrozenPhotographs, TrainingDataError
from ops.training.settings import CropSettings

ATTEMPTS = 100
# Lanczos reaches three pixels of the shrunk picture to each side.
_REACH = 3
# Boxes of pixels are averaged first where a picture shrinks six times or more, which Lanczos then smooths.
_REDUCING_GAP = 3.0


class Drawn(NamedTuple):
    """A crop as it was drawn: of which photograph, the square's left, top and side in its pixels, and its turning."""

    photograph: int
    left: float
    top: float
    side: float
    mirrored: bool
    turns: int


class Crops:
    """Crops of a frozen list as the settings say: a group is drawn evenly, then a photograph of it, scale and place.

    A photograph that cannot be decoded is in `failures` (key to reason) and is told in the log, once; in its stead one
    is drawn with the next number of attempt, so that crops stay a pure function, also of a photograph that is always
    bad. Any number of threads may ask for batches.
    """

    def __init__(
        self, frozen: FrozenPhotographs, settings: CropSettings, seed: int, cache_megapixels: int = 400
    ) -> None:
        if not frozen.photographs:
            raise TrainingDataError("the list of photographs is empty: list a source that holds some")
        least = min(frozen.photographs, key=lambda one: min(one.width, one.height))
        if min(least.width, least.height) < settings.side:
            raise TrainingDataError(
                f"{least.key} is {least.width}x{least.height} pixels, crops are {settings.side}: "
                "list the photographs anew"
            )
        self._photographs, self._settings, self._seed = frozen.photographs, settings, seed
        self._groups = _groups(frozen)
        self._decoded = DecodedPhotographs(frozen, cache_megapixels)

    @property
    def failures(self) -> dict[str, str]:
        """Which photographs, by their keys, were passed over, and why."""
        return self._decoded.failures

    def batch(self, stage: int, step: int, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the crops of these indices of a step, in their order: (n, side, side, 3). Raises TrainingDataError."""
        side = self._settings.side
        crops = np.empty((len(indices), side, side, 3), np.uint8)
        for place, index in enumerate(indices):
            crops[place] = self._crop(stage, step, index)
        return crops

    def _crop(self, stage: int, step: int, index: int) -> Pixels:
        for attempt in range(ATTEMPTS):
            drawn = self._draw(stage, step, index, attempt)
            pixels = self._decoded.pixels(drawn.photograph)
            if pixels is not None:
                return _turned(cut(pixels, drawn.left, drawn.top, drawn.side, self._settings.side), drawn)
        some = "; ".join(f"{key}: {reason}" for key, reason in list(self.failures.items())[:3])
        raise TrainingDataError(
            f"{ATTEMPTS} draws in a row met only photographs that cannot be decoded "
            f"({len(self.failures)} of {len(self._photographs)}): {some}; mend them, or take them out"
        )

    def _draw(self, stage: int, step: int, index: int, attempt: int) -> Drawn:
        """Draw a crop. The order of the draws is part of what a run is: changed, no run goes on as it began."""
        chance = generator(self._seed, stage, step, index, attempt, purpose="crop")
        group = self._groups[chance.integers(len(self._groups))]
        at = group[chance.integers(len(group))]
        width, height = self._photographs[at].width, self._photographs[at].height
        side = self._settings.side / self._scale(chance.random(), min(width, height))
        across, down = chance.random(2)
        mirrored, turns = chance.integers(2), chance.integers(4)
        return Drawn(
            photograph=at,
            left=_place(across, width, side),
            top=_place(down, height, side),
            side=side,
            mirrored=self._settings.flips and bool(mirrored),
            turns=int(turns) if self._settings.turns else 0,
        )

    def _scale(self, drawn: float, short: int) -> float:
        """Return a share between the scales, as far down as the photograph's shorter side still holds the crop."""
        least = min(1.0, self._settings.side / short)
        low, high = (max(least, scale) for scale in sorted(self._settings.scales))
        return low + (high - low) * drawn


def cut(pixels: Pixels, left: float, top: float, side: float, to: int) -> Pixels:
    """Return a square of `side` pixels at (left, top) shrunk to `to` pixels a side, as if the whole were shrunk.

    Lanczos over the square and what the filter reaches around it; a square that is not shrunk is copied as it is.
    """
    if side == to:
        across, down = round(left), round(top)
        return pixels[down : down + to, across : across + to]
    margin = math.ceil(_REACH * side / to) + 1
    height, width = pixels.shape[:2]
    x, y = max(0, math.floor(left) - margin), max(0, math.floor(top) - margin)
    right, bottom = min(width, math.ceil(left + side) + margin), min(height, math.ceil(top + side) + margin)
    window = Image.fromarray(np.ascontiguousarray(pixels[y:bottom, x:right]))
    box = (left - x, top - y, min(left - x + side, right - x), min(top - y + side, bottom - y))
    return np.asarray(window.resize((to, to), Image.Resampling.LANCZOS, box, _REDUCING_GAP))


def _place(drawn: float, length: int, side: float) -> float:
    """Return where along a length a square begins: at any pixel where it is whole pixels large, else anywhere."""
    room = max(0.0, length - side)
    return float(math.floor(drawn * (room + 1))) if side == int(side) else drawn * room


def _turned(crop: Pixels, drawn: Drawn) -> Pixels:
    mirrored = crop[:, ::-1] if drawn.mirrored else crop
    return np.rot90(mirrored, drawn.turns)


def _groups(frozen: FrozenPhotographs) -> list[list[int]]:
    """Return the places in the list of each group, the groups by their names."""
    groups: dict[str, list[int]] = {}
    for at, photograph in enumerate(frozen.photographs):
        groups.setdefault(photograph.group, []).append(at)
    return [groups[name] for name in sorted(groups)]
