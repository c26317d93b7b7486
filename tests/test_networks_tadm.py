"""TADM's networks: published counts and names, the forward passes written a second time, inverses, halos, ablations."""

import math
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from diffusers.models.embeddings import Timesteps
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear, relu

from ops.networks.coupling import CouplingBlock, EnhancedCouplingBlock
from ops.networks.rescaling import FeatureRescaling, RescalingShape
from ops.networks.scheduler import LearnedScheduler, alphas_cumprod, clean_latent, sinusoid
from ops.networks.timestep import TimestepPrediction

SCALES = (4, 8, 16, 32)
SMALL = {"width": 16, "guide": 4, "blocks": 1, "couplings": 2, "growth": 8}
PIXELS = {"latent_channels": 3, "latent_factor": 1}

# What stands at each place of a branch: c for a convolution, r a residual block, d a Downsample, u and s for
# pixel-unshuffle and pixel-shuffle.
DOWN = {scale: "c" + "dr" * int(math.log2(scale)) + "c" for scale in SCALES}
LATENT = {4: "sc", 8: "c", 16: "uc", 32: "ucuc"}
FINAL = {4: "uc", 8: "c", 16: "sc", 32: "scsc"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def on_meta(make, *args, **settings) -> nn.Module:
    with torch.device("meta"):
        return make(*args, **settings)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def sizes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def filled(network: nn.Module, seed: int = 0, gain: float = math.sqrt(3)) -> nn.Module:
    """Give every tensor random values, those that start at zero as well; by sqrt(3) each layer keeps the variance."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.named_parameters():
        bound = 0.3 if name.endswith("bias") else gain / math.sqrt(tensor[0].numel())
        nn.init.uniform_(tensor, -bound, bound, generator=generator)
    return network.requires_grad_(False)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Published names.


def with_bias(sizes_of_weights: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.{part}": size if part == "weight" else size[:1]
        for name, size in sizes_of_weights.items()
        for part in ("weight", "bias")
    }


def residuals(branch: str, places: range, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{branch}.{at}.res_block.{layer}": (channels, channels, 3, 3) for at in places for layer in (0, 2)}


def dense(name: str, inputs: int, outputs: int, growth: int = 32) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.conv{at}": (outputs if at == 5 else growth, inputs + (at - 1) * growth, 3, 3) for at in range(1, 6)
    }


ENDS = {
    4: {
        "down_module.5.conv_in": (16, 64, 3, 3),
        "latent_module.10.conv_in": (128, 32, 3, 3),
        "final_module.10.conv_in": (4, 512, 3, 3),
    },
    8: {
        "down_module.7.conv_in": (16, 128, 3, 3),
        "latent_module.9.conv_in": (128, 128, 3, 3),
        "final_module.9.conv_in": (4, 128, 3, 3),
    },
    16: {
        "down_module.9.conv_in": (16, 256, 3, 3),
        "latent_module.10.conv_in": (128, 512, 3, 3),
        "final_module.10.conv_in": (4, 32, 3, 3),
    },
    32: {
        "down_module.11.conv_in": (16, 512, 3, 3),
        "latent_module.10.conv_in": (128, 512, 3, 3),
        "latent_module.12.conv_in": (128, 512, 3, 3),
        "final_module.10.conv_in": (32, 32, 3, 3),
        "final_module.12.conv_in": (4, 8, 3, 3),
    },
}


def published(scale: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published checkpoint of a scale."""
    weights = {
        "down_module.0.conv_in": (16, 3, 3, 3),
        "latent_module.0.conv_in": (128, 4, 3, 3),
        "fusing_module.8.conv_in": (3, 144, 3, 3),
        "final_module.0.conv_in": (128, 3, 3, 3),
        **residuals("latent_module", range(1, 9), 128),
        **residuals("fusing_module", range(8), 144),
        **residuals("final_module", range(1, 9), 128),
        **ENDS[scale],
    }
    for level in range(int(math.log2(scale))):
        channels = 16 * 2**level
        weights[f"down_module.{2 * level + 1}.downsample.1"] = (2 * channels, 4 * channels, 1, 1)
        weights |= residuals("down_module", range(2 * level + 2, 2 * level + 3), 2 * channels)
    for at in range(12):
        weights |= dense(f"inv_module.{at}.F", 2, 1)
        weights |= dense(f"inv_module.{at}.G", 1, 2) | dense(f"inv_module.{at}.H", 1, 2)
    return with_bias(weights)


@pytest.mark.parametrize(
    ("scale", "millions", "tensors"), [(4, 10.011, 482), (8, 10.445, 488), (16, 12.214251, 494), (32, 18.093867, 504)]
)
def test_a_rescaling_has_the_published_tensors(scale, millions, tensors):
    network = on_meta(FeatureRescaling, RescalingShape(scale=scale))
    digits = len(str(millions).split(".")[1])
    assert round(count(network) / 1e6, digits) == millions
    assert len(network.state_dict()) == tensors
    assert sizes(network) == published(scale)


@pytest.mark.parametrize(
    ("scale", "branches"),
    [(16, (1.7796, 2.956, 2.9922, 2.3661, 2.1204)), (32, (7.0608, 3.546, 2.9922, 2.3745, 2.1204))],
)
def test_its_branches_have_the_published_counts(scale, branches):
    network = on_meta(FeatureRescaling, RescalingShape(scale=scale))
    names = ("down_module", "latent_module", "fusing_module", "final_module", "inv_module")
    assert [round(count(getattr(network, name)) / 1e6, 4) for name in names] == list(branches)


def test_the_time_step_prediction_has_the_published_tensors():
    network = on_meta(TimestepPrediction)
    assert count(network) == 1_196_577
    layers = {0: 64, 2: 512, 4: 512, 6: 512, 8: 512}
    assert sizes(network) == with_bias(
        {
            "noise_esti.0.conv_in": (32, 4, 3, 3),
            **{f"noise_esti.{at}.conv{i}": (32, 32, 3, 3) for at in range(1, 7) for i in (1, 2)},
            **{f"time_predict.fuse_mlp.{at}": (512, inputs) for at, inputs in layers.items()},
            "time_predict.fuse_mlp.9": (1, 512),
        }
    )


def test_the_learned_scheduler_has_the_published_tensors():
    network = on_meta(LearnedScheduler)
    assert count(network) == 458_436
    assert sizes(network) == with_bias(
        {
            "time_embedding.linear_1": (64, 64),
            "time_embedding.linear_2": (64, 64),
            "resnet_blocks.0.conv_in": (64, 8, 3, 3),
            **{f"resnet_blocks.{at}.conv{i}": (64, 64, 3, 3) for at in range(1, 7) for i in (1, 2)},
            "zero_conv_out.conv_in": (4, 64, 3, 3),
        }
    )


# The forward passes, a second time, from what is published: arithmetic on a state dict.


def unshuffled(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def shuffled(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.reshape(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


class Second:
    """Layers by name on a state dict."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = network.state_dict()

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return conv2d(x, weight, self.weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def plain(self, name: str, x: Tensor) -> Tensor:
        return self.conv(f"{name}.conv2", relu(self.conv(f"{name}.conv1", x))) + x

    def branch(self, name: str, kinds: str, x: Tensor) -> Tensor:
        for at, kind in enumerate(kinds):
            match kind:
                case "c":
                    x = leaky_relu(self.conv(f"{name}.{at}.conv_in", x), 0.1)
                case "r":
                    inner = leaky_relu(self.conv(f"{name}.{at}.res_block.0", x), 0.1)
                    x = x + self.conv(f"{name}.{at}.res_block.2", inner)
                case "d":
                    x = self.conv(f"{name}.{at}.downsample.1", unshuffled(x))
                case "u":
                    x = unshuffled(x)
                case "s":
                    x = shuffled(x)
        return x

    def dense(self, name: str, x: Tensor) -> Tensor:
        for at in range(1, 5):
            x = torch.cat([x, leaky_relu(self.conv(f"{name}.conv{at}", x), 0.2)], dim=1)
        return self.conv(f"{name}.conv5", x)

    def couple(self, name: str, x: Tensor) -> Tensor:
        x1, x2 = x[:, :1], x[:, 1:]
        y1 = x1 + self.dense(f"{name}.F", x2)
        s = torch.tanh(self.dense(f"{name}.H", y1) / 2)  # 2 sigmoid(a) - 1
        return torch.cat([y1, x2 * torch.exp(s) + self.dense(f"{name}.G", y1)], dim=1)

    def uncouple(self, name: str, y: Tensor) -> Tensor:
        y1, y2 = y[:, :1], y[:, 1:]
        s = torch.tanh(self.dense(f"{name}.H", y1) / 2)
        x2 = (y2 - self.dense(f"{name}.G", y1)) * torch.exp(-s)
        return torch.cat([y1 - self.dense(f"{name}.F", x2), x2], dim=1)

    def down(self, scale: int, x: Tensor, z: Tensor) -> Tensor:
        pixels = self.branch("down_module", DOWN[scale], x)
        features = self.branch("latent_module", "cr" + LATENT[scale], z)
        y = self.branch("fusing_module", "rc", torch.cat([pixels, features], dim=1))
        return self.couple("inv_module.1", self.couple("inv_module.0", y))

    def up(self, scale: int, y: Tensor) -> Tensor:
        features = self.uncouple("inv_module.0", self.uncouple("inv_module.1", y))
        return self.branch("final_module", "cr" + FINAL[scale], features)

    def timestep(self, c: Tensor) -> Tensor:
        x = leaky_relu(self.conv("noise_esti.0.conv_in", c), 0.1)
        for at in (1, 2):
            x = self.plain(f"noise_esti.{at}", x)
        mean = x.flatten(2).mean(2)
        square = ((x.flatten(2) - mean[:, :, None]) ** 2).sum(2)
        v = self.linear("time_predict.fuse_mlp.0", torch.cat([mean, (square / (x[0, 0].numel() - 1)).sqrt()], dim=1))
        for at in (2, 4, 6, 8):
            v = self.linear(f"time_predict.fuse_mlp.{at}", relu(v))
        return 10 + 190 / (1 + torch.exp(-self.linear("time_predict.fuse_mlp.9", v)[:, 0]))

    def correction(self, c: Tensor, e: Tensor, t: Tensor) -> Tensor:
        half = self.weights["time_embedding.linear_1.weight"].shape[1] // 2
        angles = torch.tensor([[float(step) * 10_000 ** (-i / (half - 1)) for i in range(half)] for step in t])
        v = self.linear("time_embedding.linear_1", torch.cat([angles.sin(), angles.cos()], dim=1).to(c))
        v = self.linear("time_embedding.linear_2", v * torch.sigmoid(v))[:, :, None, None]
        x = leaky_relu(self.conv("resnet_blocks.0.conv_in", torch.cat([c, e], dim=1)), 0.1)
        for at in (1, 2):
            x = self.plain(f"resnet_blocks.{at}", x) + v
        return leaky_relu(self.conv("zero_conv_out.conv_in", x), 0.1)


@pytest.mark.parametrize("scale", SCALES)
def test_the_way_down_and_up_is_what_a_second_writing_computes(scale):
    network = filled(FeatureRescaling(RescalingShape(scale=scale, **SMALL))).double()
    x, z = drawn(2, 3, 64, 96).double(), drawn(2, 4, 8, 12, seed=1).double()
    y, expected = network.down(x, z), Second(network).down(scale, x, z)
    assert y.shape == (2, 3, 64 // scale, 96 // scale)
    assert y.std() > 0.1
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    assert torch.equal(network.down_from(network.guide(x), z), y)
    grown, expected = network.up(y), Second(network).up(scale, y)
    assert grown.shape == z.shape
    assert grown.std() > 0.01
    torch.testing.assert_close(grown, expected, rtol=0, atol=1e-6)


def test_the_time_step_is_what_a_second_writing_computes():
    network = filled(TimestepPrediction(width=8, blocks=2, hidden=16)).double()
    c = drawn(3, 4, 6, 9).double() * torch.tensor([0.3, 1.0, 5.0])[:, None, None, None]
    t = network(c)
    assert t.shape == (3,)
    assert t.std() > 0.1
    torch.testing.assert_close(t, Second(network).timestep(c), rtol=0, atol=1e-6)
    saturated = network(torch.cat([c, -c]) * 1e6)
    assert saturated.min() >= 10
    assert saturated.max() <= 200


def test_the_correction_is_what_a_second_writing_computes():
    network = filled(LearnedScheduler(width=8, blocks=2))
    c, e, t = drawn(2, 4, 6, 9), drawn(2, 4, 6, 9, seed=1), torch.tensor([13.7, 181.2])
    made = network(c, e, t)
    assert made.std() > 0.1
    torch.testing.assert_close(made, Second(network).correction(c, e, t), rtol=0, atol=1e-5)
    assert not torch.allclose(network(c, e, t.flip(0)), made, atol=0.01)


# Starts and inverses.


def test_couplings_start_as_the_identity_and_small():
    torch.manual_seed(0)
    x = drawn(2, 3, 8, 8)
    for block in (CouplingBlock(3, 1), EnhancedCouplingBlock(3, 1)):
        assert torch.equal(block(x), x)
        assert torch.equal(block.inverse(x), x)
        weight, bias = block.G.conv3.weight, block.G.conv3.bias
        xavier = math.sqrt(2 / (9 * (weight.shape[0] + weight.shape[1])))
        assert float(weight.detach().std()) == pytest.approx(0.1 * xavier, rel=0.05)
        assert not bias.any()


def test_the_learned_scheduler_starts_as_nothing():
    assert not LearnedScheduler()(drawn(1, 4, 8, 8), drawn(1, 4, 8, 8, seed=1), torch.tensor([50.0])).any()


@pytest.mark.parametrize("clamp", [1.0, 0.5])
@pytest.mark.parametrize(("make", "channels", "split"), [(CouplingBlock, 3, 1), (EnhancedCouplingBlock, 16, 3)])
def test_a_coupling_inverts_whatever_its_weights(make, channels, split, clamp):
    block, x = filled(make(channels, split, clamp=clamp)), drawn(2, channels, 12, 10)
    y = block(x)
    assert (y - x).abs().mean() > 0.1
    torch.testing.assert_close(block.inverse(y), x, rtol=0, atol=1e-5)
    y1, x2 = y[:, :split], x[:, split:]
    factor = (y[:, split:] - block.G(y1)) / x2
    bounded = factor[x2.abs() > 0.5].log().abs().max()
    assert 0.5 * clamp < bounded < clamp + 1e-4


def test_twelve_couplings_at_full_width_invert_to_a_hundred_thousandth():
    network = FeatureRescaling(RescalingShape(scale=16, width=16, guide=4, blocks=1))
    filled(network.inv_module, gain=0.5)
    x = drawn(1, 3, 16, 24)
    y = x
    for block in network.inv_module:
        y = block(y)
    assert (y - x).abs().mean() > 0.1
    for block in reversed(network.inv_module):
        y = block.inverse(y)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-5)


# The fixed scheduler.


def test_the_fixed_step_is_the_closed_form():
    c, e = drawn(2, 4, 6, 5), drawn(2, 4, 6, 5, seed=1)
    expected = {"epsilon": (c - 0.22005306 * e) / 0.97548790, "v": 0.97548790 * c - 0.22005306 * e}
    for prediction, clean in expected.items():
        torch.testing.assert_close(clean_latent(c, e, 50, prediction), clean, rtol=0, atol=1e-6)
    last = clean_latent(c, e, 999, "epsilon")
    torch.testing.assert_close(last, (c - 0.99766723 * e) / 0.06826489, rtol=1e-6, atol=1e-5)
    assert clean_latent(c, e, 50, "epsilon").dtype == torch.float32


@pytest.mark.parametrize(("prediction", "name"), [("epsilon", "epsilon"), ("v", "v_prediction")])
def test_it_is_what_diffusers_predicts_at_every_step(prediction, name):
    diffusers = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, prediction_type=name
    )
    assert torch.equal(alphas_cumprod(), diffusers.alphas_cumprod.double())
    assert float(alphas_cumprod()[50]) == pytest.approx(0.95157665, abs=5e-9)
    diffusers.set_timesteps(1000)
    c, e = drawn(1, 4, 6, 5), drawn(1, 4, 6, 5, seed=1)
    for t in (0, 1, 50, 137, 999):
        theirs = diffusers.step(e, t, c, generator=torch.Generator().manual_seed(0)).pred_original_sample
        torch.testing.assert_close(clean_latent(c, e, t, prediction), theirs, rtol=1e-5, atol=1e-5)


def test_each_item_has_its_own_step_and_fractions_lie_between():
    c, e = drawn(3, 4, 6, 5), drawn(3, 4, 6, 5, seed=1)
    made = clean_latent(c, e, torch.tensor([50.0, 50.25, 51.0]), "epsilon")
    for i, alpha in ((0, alphas_cumprod()[50]), (1, 0.75 * alphas_cumprod()[50] + 0.25 * alphas_cumprod()[51])):
        clean = (c[i].double() - (1 - alpha).sqrt() * e[i]) / alpha.sqrt()
        torch.testing.assert_close(made[i], clean.float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(made[2:], clean_latent(c[2:], e[2:], 51, "epsilon"), rtol=0, atol=1e-6)
    assert made.dtype == torch.float32


def test_steps_and_predictions_that_do_not_exist_are_refused():
    c = drawn(2, 4, 6, 5)
    for t in (1000, -1, torch.tensor([5.0, 999.5])):
        with pytest.raises(ValueError, match=r"there is no time-step .*: use 0 to 999"):
            clean_latent(c, c, t, "v")
    with pytest.raises(ValueError, match=r"the shape \(3,\) for 2 latents: give one for each"):
        clean_latent(c, c, torch.ones(3), "v")
    with pytest.raises(ValueError, match="no prediction 'sample': use epsilon or v"):
        clean_latent(c, c, 50, "sample")


@pytest.mark.parametrize("width", [64, 8])
def test_the_embedding_of_a_time_step_is_that_of_diffusers(width):
    t = torch.tensor([10.0, 49.99, 50.0, 133.7, 200.0, 999.0])
    torch.testing.assert_close(sinusoid(t, width), Timesteps(width, False, 1)(t), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no embedding of 7 channels: use an even number from 4"):
        sinusoid(t, 7)


# Ablations and manners.


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("guidance", "invertible"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize("plane", [{}, PIXELS], ids=["latent", "pixel"])
def test_every_ablation_has_its_modules_and_sizes(scale, guidance, invertible, plane):
    network = FeatureRescaling(RescalingShape(scale=scale, guidance=guidance, invertible=invertible, **plane, **SMALL))
    filled(network)
    x = drawn(2, 3, 64, 96)
    z = x if plane else drawn(2, 4, 8, 12, seed=1)
    y = network.down(x, z)
    assert y.shape == (2, 3, 64 // scale, 96 // scale)
    assert network.up(y).shape == z.shape
    prefixes = {key.partition(".")[0] for key in network.state_dict()}
    assert ("down_module" in prefixes) is guidance
    assert ("inv_module" in prefixes) is invertible
    assert {"latent_module", "fusing_module", "final_module"} <= prefixes
    # The thumbnail depends on the image beside its latent only where that guides it.
    assert torch.equal(network.down(x.flip(3), z), y) is not guidance


def test_in_pixel_space_the_branches_are_the_published_ones_but_for_their_ends():
    for scale in SCALES:
        pixel = sizes(on_meta(FeatureRescaling, RescalingShape(scale=scale, **PIXELS)))
        changed = {key for key, size in published(scale).items() if pixel[key] != size}
        last = max(int(key.split(".")[1]) for key in pixel if key.startswith("final_module"))
        assert pixel.keys() == published(scale).keys()
        ends = {"latent_module.0.conv_in.weight"}
        ends |= {f"final_module.{last}.conv_in.{part}" for part in ("weight", "bias")}
        assert changed == ends
        assert pixel["latent_module.0.conv_in.weight"] == (128, 192, 3, 3)


def test_without_coupling_blocks_the_thumbnail_is_the_fused_features():
    network = filled(FeatureRescaling(RescalingShape(scale=16, invertible=False, **SMALL)))
    x, z = drawn(1, 3, 64, 96), drawn(1, 4, 8, 12, seed=1)
    y = network.down(x, z)
    assert torch.equal(y, network.fusing_module(torch.cat([network.guide(x), network.latent_module(z)], dim=1)))
    assert torch.equal(network.up(y), network.final_module(y))


def test_passes_repeat_to_the_bit_leave_their_inputs_and_keep_items_apart():
    rescaling = filled(FeatureRescaling(RescalingShape(scale=16, **SMALL)))
    timestep, scheduler = filled(TimestepPrediction(width=8, blocks=1)), filled(LearnedScheduler(width=8, blocks=1))
    passes = [
        (rescaling.down, drawn(2, 3, 64, 96), drawn(2, 4, 8, 12)),
        (rescaling.up, drawn(2, 3, 4, 6)),
        (timestep, drawn(2, 4, 8, 12)),
        (scheduler, drawn(2, 4, 8, 12), drawn(2, 4, 8, 12, seed=1), torch.tensor([20.0, 150.0])),
    ]
    for run, *inputs in passes:
        before = [tensor.clone() for tensor in inputs]
        made = run(*inputs)
        assert torch.equal(run(*inputs), made)
        assert all(torch.equal(tensor, kept) for tensor, kept in zip(inputs, before, strict=True))
        torch.testing.assert_close(run(*(tensor[1:] for tensor in inputs)), made[1:], rtol=1e-5, atol=1e-5)


def test_shapes_that_fit_no_module_are_refused():
    with pytest.raises(ValueError, match="no rescaling by 2: use 4, 8, 16 or 32"):
        FeatureRescaling(RescalingShape(scale=2))
    with pytest.raises(ValueError, match="a width of 24 is no multiple of 16, as scale 32 needs"):
        FeatureRescaling(RescalingShape(scale=32, width=24))
    with pytest.raises(ValueError, match="3 pixels per latent do not divide 8: use 8 or 1"):
        FeatureRescaling(RescalingShape(scale=16, latent_factor=3))
    network, z = FeatureRescaling(RescalingShape(scale=16, **SMALL)), drawn(1, 4, 8, 12)
    with pytest.raises(ValueError, match=r"guidance is True in this module: pass what guide\(\) returns"):
        network.down_from(None, z)
    with pytest.raises(ValueError, match=r"4 channels do not couple as \(1, 2\): give 3"):
        network.up(z)
    with pytest.raises(ValueError, match="3 channels cannot be split after 3: use 1 to 2"):
        CouplingBlock(3, 3)
