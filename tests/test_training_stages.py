"""What each stage trains and what it leaves alone, and the ablations of both papers in training."""

import msgspec
import pytest
import torch

from ops.codecs.names import CodecError, codec_from
from ops.rescalers.loading import placed
from ops.training.errors import TrainingError
from ops.training.loop import learn, weighed
from ops.training.objectives import OBJECTIVES
from ops.training.settings import Stage

LATENT = {"l1": 1.0, "guidance_l1": 1.0, "latent_l1": 1.0}


def objective(codec, name, losses):
    torch.manual_seed(0)
    system = placed(codec_from({**codec, "precision": "float32"}).network(), "cpu").train()
    stage = Stage(objective=name, steps=10, batch=2, losses=losses)
    module = OBJECTIVES[name](system, stage, 0, 1)
    return module, learn(system, module.trained), stage


def stepped(module, learning, stage, rate=1e-2):
    """Return which parts of the system a step of gradient descent changes."""
    before = {name: tensor.clone() for name, tensor in module.system.state_dict().items()}
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weighed(module(x, 0, 0), stage).backward()
    torch.optim.SGD(learning, lr=rate).step()
    module.after_step()
    after = module.system.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    return {".".join(name.split(".")[:2]) if name.startswith("vae") else name.split(".")[0] for name in changed}


@pytest.mark.parametrize("codec", [{"name": "tadm", "scale": 16, "size": "small"}, {"name": "nano", "scale": 32}])
@pytest.mark.parametrize(
    ("name", "losses", "wanted"),
    [
        ("autoencoder", {"l1": 1.0, "kl": 1.0}, {"vae.encoder", "vae.decoder"}),
        ("denoiser", {"noise_mse": 1.0}, {"unet"}),
        ("rescaling", {"latent_l1": 1.0, "guidance_l1": 1.0}, {"rescaling"}),
        ("generation", {"l1": 1.0, "timestep": 1.0}, {"vae.decoder", "unet", "timestep", "scheduler"}),
        ("joint", {**LATENT, "timestep": 1.0}, {"rescaling", "vae.decoder", "unet", "timestep", "scheduler"}),
    ],
)
def test_a_stage_trains_its_own_parts_alone(codec, name, losses, wanted):
    changed = stepped(*objective(codec, name, losses)) - {"vae.quant_conv", "vae.post_quant_conv"}
    assert changed == wanted


@pytest.mark.parametrize("codec", [{"name": "tadm", "scale": 16, "size": "small"}, {"name": "nano", "scale": 16}])
def test_the_forward_term_is_of_features_that_skip_couplings_and_thumbnail(codec):
    module, _, _ = objective(codec, "rescaling", {"forward_l1": 1.0, "latent_l1": 1.0})
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    rescaling = module.system.rescaling
    z = module.moments(x)[0]
    features = rescaling.fused(rescaling.guide(x), z)
    assert torch.equal(rescaling.coupled(features), rescaling.down(x, z))
    exact = rescaling.up(rescaling.down(x, z))  # nothing is rounded, so that couplings undo themselves
    assert torch.allclose(rescaling.unfused(features), exact, atol=1e-4)
    forward = module(x, 0, 0)["forward_l1"]
    expected = module.system.scaling * (rescaling.unfused(features) - z).abs().mean()
    assert forward.item() == pytest.approx(expected.item(), rel=1e-5)
    forward.backward()
    trained = {name.split(".")[0] for name, one in rescaling.named_parameters() if one.grad is not None}
    assert trained == {"down_module", "latent_module", "fusing_module", "final_module"}
    assert module(x, 0, 0)["latent_l1"] != forward


def test_faitheir_trains_its_encoder_not_its_decoder_and_its_transform_stays_orthogonal():
    codec = {"name": "faitheir", "scale": 16, "size": "small"}
    losses = {"l1": 1.0, "guidance_l1": 1.0}
    module, learning, stage = objective(codec, "faitheir", losses)
    changed = stepped(module, learning, stage, rate=0.5)
    assert changed == {"vae.encoder", "vae.quant_conv", "reversible", "unet", "semantics"}
    assert module.system.reversible.transform.orthogonality() < 1e-6


@pytest.mark.parametrize(
    "ablation",
    [{"invertible": False}, {"guidance": False}, {"diffusion": False}, {"space": "pixel", "diffusion": False},
     {"space": "pixel"}, {"timestep": 1}, {"timestep": 999}],
    ids=str,
)  # fmt: skip
def test_every_ablation_of_tadm_trains(ablation):
    codec = {"name": "nano", "scale": 16, **ablation}
    losses = {"l1": 1.0, "guidance_l1": 1.0}
    assert "rescaling" in stepped(*objective(codec, "joint", losses))


@pytest.mark.parametrize("detail", ["zero", "random", "learned"])
@pytest.mark.parametrize("transform", ["haar", "learned"])
def test_every_ablation_of_faitheir_trains_at_the_size_of_nano(detail, transform):
    codec = {"name": "faitheir", "scale": 16, "size": "nano", "semantics": "none", "detail": detail,
             "transform": transform}  # fmt: skip
    changed = stepped(*objective(codec, "faitheir", {"l1": 1.0, "guidance_l1": 1.0}))
    assert {"vae.encoder", "reversible", "unet"} <= changed


def test_a_fixed_time_step_has_no_step_to_train():
    module, _, stage = objective({"name": "nano", "scale": 16, "timestep": 1}, "joint", {"l1": 1.0, "timestep": 1.0})
    with pytest.raises(TrainingError, match="has no loss 'timestep': it has l1"):
        weighed(module(torch.zeros(1, 3, 64, 64), 0, 0), stage)


def test_at_the_size_of_nano_there_are_no_semantics_to_attend_to():
    with pytest.raises(CodecError, match="attends to no tokens; write none"):
        codec_from({"name": "faitheir", "scale": 16, "size": "nano"})


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [({"losses": {"l3": 1.0}}, "no loss 'l3': use l1"), ({"losses": {"l1": 0.0}}, "weighs no loss"),
     ({"batch": 8, "accumulate": 3}, "does not part into 3")],
)  # fmt: skip
def test_a_stage_that_cannot_be_is_refused(changed, wanted):
    said = {"objective": "joint", "steps": 1, "losses": {"l1": 1.0}, **changed}
    with pytest.raises(msgspec.ValidationError, match=wanted):
        msgspec.convert(said, Stage)
