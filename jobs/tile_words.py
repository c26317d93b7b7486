"""Predicted time-steps in words and digits: a map for the terminal, and what their correlation comes to."""

from collections.abc import Sequence

import numpy as np

from ops.timesteps import Correlation, correlate

MOST_ROWS, MOST_COLUMNS = 24, 16  # of a map in the terminal


def timestep_lines(
    timesteps: Sequence[Sequence[float]], errors: Sequence[Sequence[float]], *, untrained: bool
) -> list[tuple[str, str]]:
    """Return the map of one image for people, and how far it goes with the true error of the latents."""
    x, y = (np.asarray(plane, np.float64).ravel() for plane in (timesteps, errors))
    found = correlate(x, y, np.zeros(len(x), np.int64))
    nothing = "; the weights are untrained: they mean nothing" if untrained else ""
    rows, columns = len(timesteps), len(timesteps[0])
    lines = [
        ("predicted time-steps", f"of {rows} x {columns} tiles; not an error{nothing}"),
        ("with the true error", f"of the latents: {correlation_words(found)}"),
    ]
    if rows > MOST_ROWS or columns > MOST_COLUMNS:
        return [*lines, ("", f"{x.min():.0f} to {x.max():.0f}; --json has them all")]
    return [*lines, *(("", " ".join(f"{one:3.0f}" for one in row)) for row in timesteps)]


def correlation_words(found: Correlation) -> str:
    """Return a correlation with what it stands on, or why there is none."""
    over = f"{found.num_tiles:,} tile{'' if found.num_tiles == 1 else 's'}"
    if found.num_images > 1:
        over += f" of {found.num_images:,} images"
    if found.constant:
        return f"the same number on every tile, so nothing to correlate ({over})"
    if found.pearson is None or found.spearman is None:
        return f"too few tiles to tell ({over})"
    pearson, spearman = _one(found.pearson, found.pearson_interval), _one(found.spearman, found.spearman_interval)
    return f"Pearson {pearson}, Spearman {spearman}, {over}"


def _one(value: float, interval: tuple[float, float] | None) -> str:
    ends = f" (95 % {interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return f"{value:.2f}{ends}"
