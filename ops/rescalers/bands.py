"""A rescaling over a large image in bands of rows, so that what it holds follows the band and not the image.

Down, rows stream through both branches and the fusing, each layer keeping those that its next window needs. Couplings
are between planes of three channels, which are held whole: a band of rows goes through one at a time, with a halo.
An image of one band comes to the very bits of the module's own `down` and `up`; others to theirs but for rounding.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle

from ops.networks.coupling import CONVOLUTIONS
from ops.networks.rescaling import FACTOR, FeatureRescaling
from ops.networks.rows import Chain, Meeting, Stream, streamed

# Pixels of the image in a band: a constant, since other bands may give other last bits.
BAND = 1 << 19
# The couplings' bands have a place of the thumbnail for so many: larger ones, so that the halo is little of them.
PIXELS_PER_PLACE = 4
# Rows that a coupling block reaches to each side: a dense block's five, and five more of what it gave.
HALO = 2 * CONVOLUTIONS


def down(rescaling: FeatureRescaling, x: Tensor, z: Tensor, band: int = BAND) -> Tensor:
    """Return the thumbnail, as `rescaling.down` does, of an image that may lie elsewhere than its latents."""
    y = torch.cat(list(_fused(rescaling, x, z, band)), dim=2)
    if rescaling.shape.means and rescaling.shape.guidance:
        y = y + avg_pool2d(x, rescaling.shape.scale).to(y)
    for block in rescaling.couplings():
        y = _banded(block, y, band)
    return y


def up(rescaling: FeatureRescaling, y: Tensor, band: int = BAND) -> Tensor:
    """Return the latents of a thumbnail, as `rescaling.up` does."""
    for block in reversed(rescaling.couplings()):
        y = _banded(block.inverse, y, band)
    scale, final = rescaling.shape.scale, streamed(rescaling.final_module)
    bands = _bands(y.shape[2] * scale, y.shape[3] * scale, scale, band)
    made = (final.push(y[:, :, top // scale : bottom // scale], last) for top, bottom, last in bands)
    return pixel_shuffle(torch.cat([rows for rows in made if rows is not None], dim=2), rescaling.shape.fold)


def _fused(rescaling: FeatureRescaling, x: Tensor, z: Tensor, band: int) -> Iterator[Tensor]:
    """Yield the rows that both branches come to, fused."""
    shape = rescaling.shape
    branches: list[Stream] = [streamed(rescaling.down_module)] if shape.guidance else []
    branches.append(Chain([streamed(nn.PixelUnshuffle(shape.fold)), streamed(rescaling.latent_module)]))
    meeting, fusing = Meeting(len(branches)), streamed(rescaling.fusing_module)
    for top, bottom, last in _bands(x.shape[2], x.shape[3], shape.scale, band):
        rows = [x[:, :, top:bottom].to(z.device)] if shape.guidance else []
        rows.append(z[:, :, top // shape.latent_factor : bottom // shape.latent_factor])
        met = meeting.push(*(branch.push(part, last) for branch, part in zip(branches, rows, strict=True)))
        if (fused := fusing.push(torch.cat(met, dim=1) if met else None, last)) is not None:
            yield fused


def _bands(height: int, width: int, scale: int, band: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where bands of an image begin and end, in whole latents and whole rows of the thumbnail; which is last."""
    unit = max(FACTOR, scale)
    step = max(1, band // (width * unit)) * unit
    for top in range(0, height, step):
        yield top, min(top + step, height), top + step >= height


def _banded(run: Callable[[Tensor], Tensor], y: Tensor, band: int) -> Tensor:
    """Return what a coupling block or its inverse makes of a plane (1, 3, h, w)."""
    height, width = y.shape[2:]
    step = max(4 * HALO, band // PIXELS_PER_PLACE // width)
    if step >= height:
        return run(y)
    bands = []
    for top in range(0, height, step):
        first, bottom = max(0, top - HALO), min(top + step, height)
        bands.append(run(y[:, :, first : bottom + HALO])[:, :, top - first : bottom - first])
    return torch.cat(bands, dim=2)
