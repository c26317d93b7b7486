"""Thumbnails on their way up: which tiles and cells a region needs, and how they are put together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ops.networks.latent_networks import decode
from ops.rescalers.colour import anchored
from ops.rescalers.geometry import FACTOR, whole
from ops.rescalers.tiles import Merged, Region, Tile, fading, official_weights

if TYPE_CHECKING:
    from ops.rescalers.system import System


class Growing(NamedTuple):
    """A thumbnail (1, 3, h, w) from -1 to 1, to be grown, the size of its image, and which region is wanted of it."""

    y: Tensor
    height: int
    width: int
    region: Region | None = None


class Plane:
    """One image on its way up, or one region of it, with only those cells and tiles that it needs."""

    def __init__(self, system: "System", one: Growing) -> None:
        self._system = system
        self._wanted = one.region or Region(0, 0, one.height, one.width)
        self.y = system.padded(one.y, one.height, one.width)
        self.c = system.grow(self.y)
        height, width = whole(one.height) // FACTOR, whole(one.width) // FACTOR
        self._grid = system.cells(height, width)
        self._cells = list(self._grid.tiles(_in_latents(self._wanted)))
        self._needed = _around(self._cells)
        weigh = official_weights if system.passes.tiling == "official" else fading(system.passes.overlap)
        laid = system.tiles(height, width)
        self.tiles = list(laid.tiles(self._needed)) if system.denoises else []
        self.merged = Merged(self.c.shape[1], self._needed, laid, weigh, system.device)

    def beneath(self, tile: Tile) -> Tensor:
        """Return the part of the thumbnail that a tile of latents stands on."""
        top, left, height, width = (side * FACTOR // self._system.scale for side in tile[:4])
        return self.y[:, :, top : top + height, left : left + width]

    def decoded(self) -> Tensor:
        """Return the region (1, 3, h, w) from -1 to 1, once its tiles are denoised."""
        top, left, bottom, right = self._needed
        clean = self.merged.result() if self.tiles else self.c[:, :, top:bottom, left:right]
        fade = fading(self._system.passes.cell_overlap)
        merged = Merged(3, self._wanted, self._grid.times(FACTOR), fade, self._system.device)
        for cell in self._cells:
            inside = cell._replace(top=cell.top - top, left=cell.left - left)
            merged.add(_in_pixels(cell), self._decoded(cell, inside.of(clean)))
        return merged.result()

    def _decoded(self, cell: Tile, clean: Tensor) -> Tensor:
        x = decode(self._system.vae, self._system.cast(clean / self._system.scaling)).to(torch.float32).clamp_(-1, 1)
        if self._system.passes.anchor == "thumbnail":
            x = anchored(x, self.beneath(cell), self._system.scale).clamp_(-1, 1)
        return x


def denoise_all(system: "System", planes: Sequence[Plane]) -> None:
    """Denoise the tiles of all planes, those of one shape together."""
    waiting: dict[tuple[int, int], list[tuple[Plane, Tile]]] = {}
    for plane in planes:
        for tile in plane.tiles:
            waiting.setdefault((tile.height, tile.width), []).append((plane, tile))
    size = system.passes.tile_batch if system.batched else 1
    for tiles in waiting.values():
        for first in range(0, len(tiles), size):
            _denoise_batch(system, tiles[first : first + size], size)


def _denoise_batch(system: "System", batch: Sequence[tuple[Plane, Tile]], size: int) -> None:
    """Denoise up to `size` tiles; always as many, because other sizes give other last bits."""
    filled = [*batch, *[batch[0]] * (size - len(batch))]
    c = torch.cat([tile.of(plane.c) for plane, tile in filled])
    y = torch.cat([plane.beneath(tile) for plane, tile in filled])
    clean, _ = system.denoise(c, y)
    for at, (plane, tile) in enumerate(batch):
        plane.merged.add(tile, clean[at : at + 1])


def _around(tiles: Sequence[Tile]) -> Region:
    return Region(
        min(tile.top for tile in tiles),
        min(tile.left for tile in tiles),
        max(tile.top + tile.height for tile in tiles),
        max(tile.left + tile.width for tile in tiles),
    )


def _in_latents(region: Region) -> Region:
    return Region(region.top // FACTOR, region.left // FACTOR, -(-region.bottom // FACTOR), -(-region.right // FACTOR))


def _in_pixels(cell: Tile) -> Tile:
    top, left, height, width = (side * FACTOR for side in cell[:4])
    return cell._replace(top=top, left=left, height=height, width=width)
