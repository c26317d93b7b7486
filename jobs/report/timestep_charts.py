"""The plots of predicted time-steps: how they spread, what they tell of true errors, and their maps over an image."""

import numpy as np
from numpy.typing import NDArray

from jobs.report.charts import LEFT, RAMP, ROW, box, heat, row_name, spread
from jobs.report.drawing import BOTTOM, RIGHT, WIDTH, across, linear_axis, picture, text, upright
from jobs.report.words import number
from ops.statistics import Numbers
from ops.timesteps import HIGHEST, LOWEST, Tiles, TimestepNumbers

HEIGHT, SIDE = 280, 54
DOTS = 1_500  # of so many tiles each is drawn, of more every second, third, ...
# Pale to dark, green to blue: not to be taken for a map of errors, whose colours go from dark to bright.
TIMESTEPS = np.array([(240, 249, 232), (186, 228, 188), (123, 204, 196), (67, 162, 202), (8, 84, 150)], np.float64)


def spread_chart(tiles: dict[str, Tiles], numbers: dict[str, TimestepNumbers]) -> str:
    """Return how the time-steps of each candidate spread over all tiles."""
    bottom = ROW * len(tiles) + 6
    ends = [end for one in numbers.values() for end in (one.lowest, one.highest)]
    x = linear_axis(ends, LEFT, WIDTH - RIGHT)
    marks = across(x, 4, bottom, "predicted time-step")
    for at, (name, one) in enumerate(tiles.items()):
        middle, summed = at * ROW + 4 + ROW / 2, numbers[name]
        marks += [row_name(name, middle), spread(x, middle, one.timesteps, "s4")]
        marks.append(box(x, middle, summed.lower_quartile, summed.upper_quartile, summed.median))
    about = "; ".join(f"{name}: median {number(one.median, 1)}" for name, one in numbers.items())
    return picture("Predicted time-steps of single tiles", about, bottom + BOTTOM, marks)


def scatter_chart(timesteps: Numbers, errors: Numbers, name: str, unit: str, said: str) -> str:
    """Return a dot for each tile: across its predicted time-step, upright an error of the same tile."""
    known = np.isfinite(errors)
    x_values, y_values = (values[known][:: stride(int(known.sum()))] for values in (timesteps, errors))
    if not len(x_values):
        return ""
    bottom = HEIGHT - BOTTOM
    x = linear_axis([float(x_values.min()), float(x_values.max())], SIDE, WIDTH - RIGHT)
    y = linear_axis([float(y_values.min()), float(y_values.max())], bottom, 18)
    places = zip(x_values.tolist(), y_values.tolist(), strict=True)
    dots = "".join(f'<circle cx="{x.place(one):.1f}" cy="{y.place(two):.1f}" r="2.5"/>' for one, two in places)
    marks = [*across(x, 18, bottom, "predicted time-step"), *upright(y, SIDE, WIDTH - RIGHT)]
    marks += [f'<g class="s4 dots">{dots}</g>', text(SIDE, 10, unit, look="name")]
    return picture(f"{name}: predicted time-step and {unit}", said, HEIGHT, marks)


def stride(num_tiles: int) -> int:
    """Return that every so manieth tile is drawn."""
    return -(-num_tiles // DOTS) or 1


def timestep_map(timesteps: NDArray[np.float32]) -> str:
    """Return a picture, as a URL, of a pixel for each tile, on one scale for all images."""
    return heat((timesteps - LOWEST) / (HIGHEST - LOWEST), TIMESTEPS)


def gradient(ramp: NDArray[np.float64] = RAMP) -> str:
    """Return a ramp's colours as CSS."""
    colours = ", ".join("#" + bytes(colour).hex() for colour in ramp.astype(np.uint8))
    return f"linear-gradient(to right, {colours})"
