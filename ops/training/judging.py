"""Scores of reconstructed crops by the project's own metrics, and crops beside one another as a PNG."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ops.codecs.base import Runtime
from ops.images import Pixels
from ops.metrics.base import Inapplicable, Unavailable
from ops.metrics.dists import DistsConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.psnr import psnr
from ops.metrics.sharing import LayeredMetric, score_sharing


def scores_of(pairs: Sequence[tuple[Pixels, Pixels]], device: str) -> dict[str, list[float]]:
    """Return the scores of pairs of reference and reconstruction, by their columns: psnr, and what has its weights.

    A pair that is too small for a network has no score of it.
    """
    found = {"psnr": [psnr(reference, reconstruction) for reference, reconstruction in pairs]}
    for column, metric in _networks(device).items():
        scores = [score_sharing([metric], reference, [reconstruction])[0][0] for reference, reconstruction in pairs]
        found[column] = [score for score in scores if not isinstance(score, Inapplicable)]
    return found


def save_grid(path: Path, rows: Sequence[tuple[str, Sequence[Pixels]]]) -> None:
    """Write pictures as a PNG, a photograph a row, top aligned; smaller ones, such as thumbnails, are enlarged."""
    drawn = [np.concatenate([_as_high(one, pictures[0].shape[:2]) for one in pictures], 1) for _, pictures in rows]
    width = max(row.shape[1] for row in drawn)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in drawn]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(path)


def _as_high(picture: Pixels, size: tuple[int, ...]) -> Pixels:
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.NEAREST))


@cache
def _networks(device: str) -> dict[str, LayeredMetric]:
    """Return the metrics whose weights are here; what is missing is told in the log, once."""
    found = {}
    for config in (LpipsConfig(network="alex"), LpipsConfig(network="vgg"), DistsConfig()):
        try:
            found[config.column] = config.load(Runtime(device=device))
        except Unavailable as error:
            logging.getLogger(__name__).warning("no %s: %s", config.column, error)
    return found
