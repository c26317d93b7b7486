"""Scores of reconstructed crops by the project's own metrics, and crops beside one another as a PNG."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ops.codecs.base import Runtime
from ops.images import Pixels
from ops.metrics.base import Inapplicable, Unavailable
from ops.metrics.dists import DistsConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.psnr import psnr
from ops.metrics.sharing import LayeredMetric, score_sharing

# Of a grid, in pixels: the height of a line of words, and what lies between two pictures.
LINE, GAP = 20, 4


def scores_of(pairs: Sequence[tuple[Pixels, Pixels]], device: str) -> dict[str, list[float]]:
    """Return the scores of pairs of reference and reconstruction, by their columns: psnr, and what has its weights.

    A pair that is too small for a network has no score of it.
    """
    found = {"psnr": [psnr(reference, reconstruction) for reference, reconstruction in pairs]}
    for column, metric in _networks(device).items():
        scores = [score_sharing([metric], reference, [reconstruction])[0][0] for reference, reconstruction in pairs]
        found[column] = [score for score in scores if not isinstance(score, Inapplicable)]
    return found


def save_grid(path: Path, rows: Sequence[tuple[str, Mapping[str, Pixels]]]) -> None:
    """Write pictures as a PNG, whole or not at all: a photograph a row under its name, each picture under its heading.

    All of a row become as large as its first: thumbnails are enlarged by repeating their pixels.
    """
    strips = [_row(name, pictures) for name, pictures in rows]
    grid = Image.new("RGB", (max(one.width for one in strips), sum(one.height for one in strips)), "white")
    for at, strip in enumerate(strips):
        grid.paste(strip, (0, sum(one.height for one in strips[:at])))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    grid.save(aside, "PNG")
    aside.replace(path)


def _row(name: str, pictures: Mapping[str, Pixels]) -> Image.Image:
    height, width = next(iter(pictures.values())).shape[:2]
    strip = Image.new("RGB", ((width + GAP) * len(pictures) - GAP, height + 2 * LINE), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(LINE - 6)
    draw.text((2, 2), name, "black", font)
    for at, (heading, picture) in enumerate(pictures.items()):
        left = at * (width + GAP)
        draw.text((left + 2, LINE + 1), heading, "gray", font)
        strip.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST), (left, 2 * LINE))
    return strip


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
