"""What score rows hold of tiles: predicted time-steps and true errors, of each candidate that has such."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.codecs.latent import LatentConfig
from ops.codecs.names import codec_from
from ops.codecs.tile_facts import TileFacts, unpack_facts
from ops.evaluation.scores import ERROR_MAP, TILES, rows_of_works
from ops.metrics.error_map import read_error_map
from ops.timesteps import TileMaps, Tiles, gather_tiles, tile_pixel_errors

COLUMNS = ("key", "candidate", "width", "height", ERROR_MAP, TILES)
LATENT = 8  # pixels a side
PADDING = 64  # images are padded to multiples of so many pixels


def read_tiles(
    url: str, codecs: Mapping[str, dict[str, Any]], older: Collection[tuple[str, str]] = ()
) -> dict[str, Tiles]:
    """Return the tiles of each candidate that has such; `codecs` are settings by the names of candidates.

    `older` are works and keys that do not count, as ops.evaluation.scores returns them.
    """
    configs = {name: config for name, one in codecs.items() if isinstance(config := codec_from(one), LatentConfig)}
    if not configs:
        return {}
    found: dict[str, dict[str, TileMaps]] = defaultdict(dict)
    for table in rows_of_works(url, COLUMNS, older):
        for row in table.to_pylist():
            if row[TILES] is not None and (config := configs.get(row["candidate"])) is not None:
                found[row["candidate"]][row["key"]] = _maps(row, config)
    return {name: gather_tiles(found[name]) for name in configs if name in found}


def _maps(row: Mapping[str, Any], config: LatentConfig) -> TileMaps:
    facts = unpack_facts(row[TILES])
    errors = _pixel_errors(row, facts, config)
    unknown = np.full((facts.rows, facts.columns), np.nan, np.float32)
    return TileMaps(facts.timestep_map(), facts.error_map(), unknown if errors is None else errors)


def _pixel_errors(row: Mapping[str, Any], facts: TileFacts, config: LatentConfig) -> NDArray[np.float32] | None:
    """Return the errors of pixels under tiles; nothing without an error map, or without torch, which lays tiles."""
    if row[ERROR_MAP] is None:
        return None
    try:
        from ops.rescalers.tiles import grid, official_grid  # noqa: PLC0415  it imports torch
    except ModuleNotFoundError:
        return None
    height, width = row["height"], row["width"]
    rows, columns = (-(-side // PADDING) * PADDING // LATENT for side in (height, width))
    laid = (official_grid if config.tiling == "official" else grid)(rows, columns, config.tile, config.overlap)
    if (len(laid.tops), len(laid.lefts)) != (facts.rows, facts.columns):
        return None
    tops, lefts = ([LATENT * start for start in starts] for starts in (laid.tops, laid.lefts))
    tile = LATENT * laid.tile_height, LATENT * laid.tile_width
    return tile_pixel_errors(read_error_map(row[ERROR_MAP]), (height, width), tops, lefts, tile)
