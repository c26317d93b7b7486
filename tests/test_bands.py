"""TADM's rescaling in bands of rows: the whole image's result, in memory that follows the band."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import nn

from ops.networks.blocks import ConvBlock
from ops.networks.coupling import CONVOLUTIONS
from ops.networks.rescaling import FeatureRescaling, RescalingShape
from ops.networks.rows import Meeting, streamed
from ops.rescalers import bands

SCALES = (4, 8, 16, 32)
SMALL = {"guide": 4, "width": 16, "blocks": 2, "couplings": 2, "growth": 8}
PIXELS = {"latent_channels": 3, "latent_factor": 1}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Layers as small as these are faster so, most of all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) / 2


@torch.no_grad()
def network_of(**shape: object) -> FeatureRescaling:
    """Return a rescaling in which no tensor is at rest."""
    torch.manual_seed(0)
    network = FeatureRescaling(RescalingShape(**{**SMALL, **shape}))  # type: ignore[arg-type]
    for one in network.parameters():
        if not one.any():
            one.normal_(0, 0.05)
    return network.requires_grad_(False)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "shape", [{}, {"guidance": False, "means": True}, PIXELS, {"means": True, "leaky_ends": False}]
)
def test_bands_of_one_row_of_latents_give_what_the_whole_image_does(scale, shape):
    network = network_of(scale=scale, **shape)
    x = drawn(1, 3, 576, 64)
    z = x if shape is PIXELS else drawn(1, 4, 72, 8, seed=1)
    y = network.down(x, z)
    for band in (1, 3 * 64 * 8, 64 * 320):
        torch.testing.assert_close(bands.down(network, x, z, band), y, rtol=0, atol=1e-6)
        torch.testing.assert_close(bands.up(network, y, band), network.up(y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_an_image_of_one_band_keeps_every_bit_and_larger_ones_all_but_rounding(scale):
    network = network_of(scale=scale)
    x, z = drawn(1, 3, 512, 64), drawn(1, 4, 64, 8, seed=1)
    y = network.down(x, z)
    latents = network.up(y)
    assert torch.equal(bands.down(network, x, z), y)
    assert torch.equal(bands.up(network, y), latents)
    torch.testing.assert_close(bands.down(network, x, z, 64 * 64), y, rtol=0, atol=1e-6)
    grown = bands.up(network, y, 64 * 64)
    # Kernels of a processor differ by the size of what they are given: a few last bits of what is summed.
    torch.testing.assert_close(grown, latents, rtol=0, atol=5e-6 * float(latents.abs().max()))


def test_a_coupling_reaches_as_far_as_its_halo_and_no_farther():
    block = network_of(scale=4).couplings()[0].double()  # what comes from afar is little
    y, at = drawn(1, 3, 60, 6).double(), 30
    reached = 2 * CONVOLUTIONS
    assert reached == bands.HALO
    for run, (row, seen) in product((block, block.inverse), ((at - reached, True), (at - reached - 1, False))):
        changed = y.clone()
        changed[:, :, row] += 100
        assert torch.equal(run(changed)[:, :, at], run(y)[:, :, at]) is not seen


def test_rows_wait_for_one_another_and_a_module_of_another_kind_is_refused():
    meeting = Meeting(2)
    assert meeting.push(drawn(1, 1, 3, 2), None) is None
    met = meeting.push(None, drawn(1, 1, 2, 2))
    assert met is not None
    assert [x.shape[2] for x in met] == [2, 2]
    assert torch.equal(met[0], drawn(1, 1, 3, 2)[:, :, :2])
    with pytest.raises(TypeError, match="Flatten does not run by rows yet: say how in"):
        streamed(nn.Sequential(ConvBlock(1, 1), nn.Flatten()))
