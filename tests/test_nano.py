"""nano: small enough for a laptop and a repository, local in all that it does, and TADM in its ideas."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ops.codecs.names import CodecError, codec_from
from ops.networks.compact_unet import CompactUnet, CompactUnetShape
from ops.networks.compact_vae import CompactVae, CompactVaeShape
from ops.networks.rescaling import FeatureRescaling, RescalingShape
from ops.rescalers.loading import placed

MIB = 2**20
both_scales = pytest.mark.parametrize("spelling", ["nano-x16", "nano-x32"])


def nano(spelling):
    torch.manual_seed(0)
    return placed(codec_from(spelling).network(), "cpu")


@both_scales
def test_in_16_bits_it_fits_into_16_mebibytes(spelling):
    with torch.device("meta"):
        system = codec_from(spelling).network()
    numbers = sum(tensor.numel() for tensor in system.state_dict().values())
    assert 15 * MIB < 2 * numbers < 16 * MIB - 100_000  # 100 kB for the header of the file


@both_scales
def test_a_pixel_costs_less_than_100_thousand_operations_each_way(spelling):
    with torch.device("meta"):  # shapes alone are counted
        system = codec_from(spelling).network().eval()
        for side in (1024, 2048, 4096):  # beyond 144 latents, tiles overlap
            y = torch.zeros(1, 3, side // system.scale, side // system.scale)
            assert 50_000 < operations(lambda y=y, side=side: system.up(y, side, side)) / side**2 < 100_000
        assert operations(lambda: system.down(torch.zeros(1, 3, 512, 512))) / 512**2 < 85_000


def operations(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@both_scales
def test_it_has_every_part_of_the_design_and_the_papers_ablations_leave_theirs_out(spelling):
    parts = {name for name, _ in codec_from(spelling).network().named_children()}
    assert parts == {"vae", "rescaling", "unet", "timestep", "scheduler"}
    scale = codec_from(spelling).scale
    without = codec_from({"name": "nano", "scale": scale, "diffusion": False, "invertible": False, "guidance": False})
    names = {name.split(".")[1] for name in without.network().state_dict() if name.startswith("rescaling.")}
    assert names == {"latent_module", "fusing_module", "final_module"}
    assert {name for name, _ in without.network().named_children()} == {"vae", "rescaling"}


def test_the_compact_autoencoder_sees_a_place_and_not_the_image():
    torch.manual_seed(0)
    vae = CompactVae(CompactVaeShape()).double().eval()
    z = torch.randn(1, 16, 24, 24, dtype=torch.float64)
    other = z.clone()
    other[:, :, :, 20:] += 100
    with torch.inference_mode():
        a, b = vae.decode(z), vae.decode(other)
        wide, narrow = vae.moments(a)[0], vae.moments(a[:, :, :, :128])[0]
    assert torch.equal(a[:, :, :, : 14 * 8], b[:, :, :, : 14 * 8])
    assert not torch.equal(a, b)
    torch.testing.assert_close(narrow[:, :, :, :9], wide[:, :, :, :9], rtol=0, atol=1e-12)


def test_the_compact_unet_begins_with_nothing_and_listens_to_its_time_step():
    torch.manual_seed(0)
    unet = CompactUnet(CompactUnetShape())
    c = torch.randn(2, 16, 12, 12)
    t = torch.tensor([20.0, 500.0])
    assert unet(c, t).abs().max() == 0
    torch.nn.init.normal_(unet.outlet.weight)
    first, second = unet(c[:1].expand(2, -1, -1, -1), t)
    assert (first - second).abs().max() > 1e-4
    alone = unet(c[:1], t[:1])
    torch.testing.assert_close(first[None], alone, rtol=1e-4, atol=1e-4)


def test_an_untrained_thumbnail_is_the_image_made_small():
    torch.manual_seed(0)
    rescaling = FeatureRescaling(RescalingShape(scale=16, latent_channels=16, width=16, blocks=1, means=True))
    x, z = torch.rand(1, 3, 64, 96), torch.randn(1, 16, 8, 12)
    means = torch.nn.functional.avg_pool2d(x, 16)
    torch.testing.assert_close(rescaling.down(x, z), means)


def test_it_has_cells_alone():
    with pytest.raises(CodecError, match="encoding split-1024 is that of TADM's authors"):
        codec_from({"name": "nano", "scale": 16, "encoding": "split-1024"})
