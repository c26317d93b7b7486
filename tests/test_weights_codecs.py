"""Files of codecs' weights: kept, found and proved; and published files, converted or refused.

No official file could be had: the published layouts are made here, of small random networks.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import fsspec
import pytest
import torch
import typer
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel

from jobs.commands.weights import app
from jobs.errors import UsageError
from ops.codecs.learned import LearnedConfig
from ops.codecs.names import CodecError
from ops.codecs.osirdiff import OsirdiffConfig
from ops.codecs.tadm import TadmConfig
from ops.metrics.base import Unavailable
from ops.networks.stable_diffusion import UnetShape, VaeShape, build_unet, build_vae
from ops.weights import KNOWN, WeightsError, tensors_digest
from ops.weights.base_models import read_base
from ops.weights.base_places import opened_place
from ops.weights.cache import encode
from ops.weights.checkpoints import Adapter
from ops.weights.codec_files import files_for, find, in_places, load, read_header, write
from ops.weights.convert import convert_tadm
from ops.weights.lora import inject, merge
from ops.weights.prompt import _tokens
from ops.weights.random_weights import make_random
from tests.published import (
    PART_FILE,
    SMALL,
    UNET_TARGETS,
    VAE_TARGETS,
    Published,
    publish,
    seeded,
    write_base,
    write_part,
)

TENSORS = {"b": torch.arange(3.0), "a": torch.ones(2, 2, dtype=torch.bfloat16), "s": torch.tensor(7.0)}


class Tiny(LearnedConfig, tag="tiny", frozen=True, kw_only=True):
    scale: Literal[8, 16]

    def network(self) -> nn.Module:
        return nn.ModuleDict({"unet": nn.Linear(2, 3), "rescaling": nn.Conv2d(1, 2, 3)})

    def spelling(self) -> str:
        return f"tiny-x{self.scale}"


FACTS = {
    "settings": Tiny(scale=16).network_settings(),
    "trained": True,
    "licence": "MIT",
    "redistribution": False,
    "origins": {"unet": "the tests"},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small layers gain nothing of threads, which wait for one another where others work beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


def regrow_weights(*arguments: str) -> int:
    front = typer.Typer()
    front.add_typer(app, name="weights")
    with typer.main.get_command(front).make_context("regrow", ["weights", *arguments]) as context:
        return context.command.invoke(context) or 0


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_file_says_what_it_is_and_is_found_by_digest_and_by_codec_wherever_it_lies(tmp_path, cache):
    written = write(str(tmp_path / "mine" / "w.safetensors"), TENSORS, **FACTS)
    assert written == read_header(written.url)
    assert (written.digest, written.parameters) == (tensors_digest(TENSORS), 8)
    assert {name: getattr(written, name) for name in FACTS} == FACTS
    fsspec.filesystem("memory").pipe_file("/codec-files/w.safetensors", Path(written.url).read_bytes())
    for place in (written.url, str(tmp_path / "mine"), "memory://codec-files", "memory://codec-files/w.safetensors"):
        assert equal(load(find(written.digest, [place])), TENSORS)
        assert [one.digest for one in files_for("tiny", 16, [place])] == [written.digest]
    assert files_for("tiny", 8, [str(tmp_path / "mine")]) == []
    assert [path.name for path in cache.iterdir()] == [f"{written.digest}.safetensors"]  # the remote one was kept
    assert find(written.digest, []).url == str(cache / f"{written.digest}.safetensors")


def test_weights_that_are_nowhere_are_named_with_the_places_and_the_remedy(tmp_path, cache):
    with pytest.raises(
        Unavailable, match=rf"no weights of digest {'0' * 64} in {tmp_path}, {cache}; .*`--weights FILE`"
    ):
        find("0" * 64, [str(tmp_path)])
    with pytest.raises(WeightsError, match=r"/nowhere: no such file or folder"):
        find("0" * 64, ["/nowhere"])


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    path.write_bytes(
        {
            "short": content[:-1],
            "headless": content[: length // 2],
            "empty": b"",
            "page": b"<html>" * 100,
            "huge": b"\xff" * 64,
            "tampered": content[:-1] + b"\x01",
            "metric's": encode(KNOWN["dists"], TENSORS),
        }[kind]
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("short", r"w\.safetensors is truncated: the tensor [abs] lacks"),
        ("headless", "is truncated: its header has"),
        ("empty", "is not a safetensors file"),
        ("page", "is not a safetensors file"),
        ("huge", "is not a safetensors file"),
        ("tampered", "holds tensors of digest [0-9a-f]{64}, not [0-9a-f]{64}"),
        ("metric's", "holds no weights of a codec"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_passed_over_in_a_folder(tmp_path, kind, told):
    written = write(str(tmp_path / "w.safetensors"), TENSORS, **FACTS)
    damage(Path(written.url), kind)
    with pytest.raises(WeightsError, match=told):
        load(find(written.digest, [written.url]))
    assert len(in_places([str(tmp_path)])) == (1 if kind == "tampered" else 0)  # only reading it all can tell


def test_a_damaged_file_in_the_folder_of_weights_is_told_not_taken_for_missing():
    written = write("", TENSORS, **FACTS)
    damage(Path(written.url), "short")
    with pytest.raises(WeightsError, match="is truncated"):
        find(written.digest, [])


def test_another_file_is_never_overwritten_and_the_same_is_left(tmp_path):
    path = tmp_path / "w.safetensors"
    written = write(str(path), TENSORS, **FACTS)
    before = path.stat()
    assert write(str(path), TENSORS, **FACTS) == written
    for tensors, facts, differs in (
        ({**TENSORS, "b": torch.zeros(3)}, {}, "digest"), (TENSORS, {"trained": False}, "trained"),
        (TENSORS, {"redistribution": True}, "redistribution"),
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=rf"{path} is there already with another {differs}"):
            write(str(path), tensors, **{**FACTS, **facts})
    assert path.stat() == before
    assert [one.name for one in tmp_path.iterdir()] == ["w.safetensors"]


def anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_a_local_file_is_mapped_not_copied_into_memory(tmp_path):
    written = write(str(tmp_path / "w.safetensors"), {"large": torch.zeros(60_000_000, dtype=torch.uint8)}, **FACTS)
    before = anonymous_bytes()
    tensors = load(written)
    assert tensors["large"].numel() == 60_000_000
    assert anonymous_bytes() - before < 30_000_000


def test_random_weights_follow_from_the_seed_alone_and_are_marked(tmp_path):
    state = torch.random.get_rng_state()
    first = make_random(Tiny(scale=16), seed=3, dtype="bfloat16")
    again = make_random(Tiny(scale=16), seed=3, dtype="bfloat16", url=str(tmp_path / "again.safetensors"))
    other = make_random(Tiny(scale=16), seed=4, dtype="bfloat16")
    assert first.digest == again.digest != other.digest
    assert not first.trained
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {name: str(tensor.dtype) for name, tensor in load(first).items()} == {
        "unet.weight": "torch.bfloat16", "unet.bias": "torch.bfloat16",
        "rescaling.weight": "torch.float32", "rescaling.bias": "torch.float32",
    }  # fmt: skip


class Layers(nn.Module):
    """Each kind of layer that has an adapter in TADM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 5, 3, padding=1)
        self.conv = nn.Conv2d(5, 6, 3, stride=2, padding=1)  # as down-samplers have it
        self.conv_shortcut = nn.Conv2d(6, 4, 1)
        self.to_q = nn.Linear(4, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.to_q(self.conv_shortcut(self.conv(self.conv_in(x))).permute(0, 2, 3, 1))


def test_merging_is_the_closed_form_for_linear_pointwise_and_strided_layers():
    torch.manual_seed(0)
    network, rank = Layers().requires_grad_(False), 3
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shapes = {"conv": (5, 6, 3), "conv_shortcut": (6, 4, 1)}
    tensors = {"to_q.lora_A.default.weight": torch.randn(rank, 4), "to_q.lora_B.default.weight": torch.randn(7, rank)}
    for name, (inputs, outputs, kernel) in shapes.items():
        tensors[f"{name}.lora_A.default.weight"] = torch.randn(rank, inputs, kernel, kernel)
        tensors[f"{name}.lora_B.default.weight"] = torch.randn(outputs, rank, 1, 1)
    tensors = {name: 0.2 * tensor for name, tensor in tensors.items()}
    merged = merge(network, Adapter("default", rank, ["conv", "conv_shortcut", "to_q"], tensors)).state_dict()
    for name in ("conv", "conv_shortcut", "to_q"):
        a, b = (tensors[f"{name}.lora_{half}.default.weight"] for half in "AB")
        change = 8 / rank * torch.einsum("or,r...->o...", b.flatten(1), a)
        assert torch.allclose(merged[f"{name}.weight"], own[f"{name}.weight"] + change, atol=1e-6, rtol=0)
    assert merged.keys() == own.keys()
    assert torch.equal(merged["conv_in.weight"], own["conv_in.weight"])


def adapter_of_layers(**other) -> Adapter:
    tensors = {"to_q.lora_A.default.weight": torch.zeros(3, 4), "to_q.lora_B.default.weight": torch.zeros(7, 3)}
    return Adapter("default", 3, ["to_q"], {**tensors, **other})


def test_an_adapter_that_does_not_fit_is_refused_by_the_tensor():
    missing = adapter_of_layers()
    del missing.tensors["to_q.lora_B.default.weight"]
    with pytest.raises(WeightsError, match=r"tensor to_q\.lora_B\.default\.weight is missing"):
        merge(Layers(), missing)
    stranger = {"conv_in.lora_A.default.weight": torch.zeros(3, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"conv_in\.lora_A\.default\.weight belongs to no module"):
        merge(Layers(), adapter_of_layers(**stranger))
    wrong = {"to_q.lora_A.default.weight": torch.zeros(3, 5)}
    with pytest.raises(WeightsError, match=r"has the shape \(3, 5\), not \(3, 4\)"):
        merge(Layers(), adapter_of_layers(**wrong))
    with pytest.raises(WeightsError, match="fits no module"):
        merge(Layers(), Adapter("default", 3, ["to_k"], {}))


def test_the_targets_of_the_published_adapters_are_as_many_as_counted():
    with torch.device("meta"):
        unet, vae = build_unet(UnetShape()), build_vae(VaeShape())
    counted = {}
    for name, network, rank, targets in (("default", unet, 48, UNET_TARGETS), ("vae_skip", vae, 16, VAE_TARGETS)):
        inject(network, Adapter(name, rank, targets, {}))
        tensors = [tensor for key, tensor in network.state_dict().items() if ".lora_" in key]
        counted[name] = (len(tensors) // 2, len(tensors), sum(tensor.numel() for tensor in tensors))
    assert counted == {"default": (257, 514, 48_651_456), "vae_skip": (39, 78, 2_050_672)}


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Published:
    return publish(tmp_path_factory.mktemp("released"))


def rewritten(path: str, into: Path, change) -> str:
    """Return a copy of a published file, changed."""
    content = torch.load(path, weights_only=True)
    changed = change(content)
    torch.save(content if changed is None else changed, into / "changed.pkl")
    return str(into / "changed.pkl")


def loaded(written) -> nn.Module:
    system = SMALL.network()
    system.load_state_dict(load(written))
    return system.eval().requires_grad_(False)


def test_what_is_converted_computes_what_the_published_files_do_with_adapters_beside_the_layers(released):
    written = convert_tadm(SMALL, **released.arguments())
    assert (written.settings["prediction"], written.trained, written.redistribution) == ("v", True, True)
    system, expected = loaded(written), released.system
    c, t = torch.randn(2, 4, 16, 16), torch.tensor([10.5, 180.0])
    tokens = system.prompt.expand(2, -1, -1)
    outputs = [one.unet(c, t, encoder_hidden_states=tokens).sample for one in (system, expected)]
    assert torch.allclose(*outputs, atol=1e-5)
    assert not torch.allclose(outputs[0], outputs[0].mean(), atol=1e-3)
    assert torch.allclose(system.vae.decode(c).sample, expected.vae.decode(c).sample, atol=1e-5)
    assert torch.equal(system.timestep(c), expected.timestep(c))
    assert torch.equal(system.scheduler(c, c, t), expected.scheduler(c, c, t))
    assert equal(system.rescaling.state_dict(), expected.rescaling.state_dict())


def test_the_file_names_every_source_with_its_sha256_and_its_licence(released):
    written = convert_tadm(SMALL, **released.arguments())
    sources = {
        "unet": f"{released.base}/unet/{PART_FILE}", "vae": f"{released.vae}/{PART_FILE}",
        "timestep": released.checkpoint, "scheduler": released.checkpoint, "rescaling": released.rescaling,
        "prompt": f"{released.base}/text_encoder/model.safetensors",
    }  # fmt: skip
    assert written.origins.keys() == sources.keys()
    for part, path in sources.items():
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() in written.origins[part]
    for words in ("Apache-2.0", "none is stated for the weights", "Open RAIL++-M", "MIT"):
        assert words in written.licence


def test_the_prompt_is_what_the_text_encoder_says_to_the_empty_string(released, tmp_path):
    encoder = CLIPTextModel.from_pretrained(f"{released.base}/text_encoder")
    ids = torch.tensor([[49406, 49407, *[0] * 75]])
    with torch.inference_mode():
        expected = encoder(ids)[0][0]
    written = convert_tadm(SMALL, **released.arguments())
    assert torch.allclose(load(written)["prompt"], expected, atol=1e-6)
    save_file({"prompt": expected + 1}, tmp_path / "prompt.safetensors")
    given = convert_tadm(SMALL, **released.arguments(), prompt=str(tmp_path / "prompt.safetensors"))
    assert torch.equal(load(given)["prompt"], expected + 1)
    save_file({"prompt": expected[:5]}, tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match=r"short\.safetensors: the prompt's embedding has the shape \(5, "):
        convert_tadm(SMALL, **released.arguments(), prompt=str(tmp_path / "short.safetensors"))


def test_the_tokens_are_the_tokenizers_own_where_it_is_there(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    vocabulary = {"!": 0, "a</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "!"}
    (folder / "special_tokens_map.json").write_text(json.dumps(marks))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    with opened_place(str(tmp_path)) as place:
        assert _tokens(place, 6) == [2, 3, 0, 0, 0, 0]


def test_a_rescaling_file_is_read_flat_nested_and_with_the_prefix_of_a_wrapped_module(released, tmp_path):
    expected = convert_tadm(SMALL, **released.arguments()).digest
    flat = lambda content: content["state_dict"]  # noqa: E731
    wrapped = lambda content: {f"module.{name}": tensor for name, tensor in content["state_dict"].items()}  # noqa: E731
    for change in (flat, wrapped):
        path = rewritten(released.rescaling, tmp_path, change)
        assert convert_tadm(SMALL, **{**released.arguments(), "rescaling": path}).digest == expected


def test_osirdiffs_checkpoint_has_no_adapter_of_the_autoencoder(tmp_path):
    config = OsirdiffConfig(scale=16, size="small")
    released = publish(tmp_path, vae_adapter=False)
    written = convert_tadm(config, **released.arguments())
    assert written.settings["name"] == "osirdiff"
    own = released.system.vae.state_dict()
    tensors = load(written)
    assert all(torch.equal(tensors[f"vae.{name}"], own[name]) for name in own if ".lora_" not in name)


def test_a_checkpoint_of_the_other_method_is_refused_with_the_codec_that_it_is_for(released, tmp_path):
    with pytest.raises(WeightsError, match=r"x16\.pkl has an adapter of the autoencoder .*with --codec tadm-x16"):
        convert_tadm(OsirdiffConfig(scale=16, size="small"), **released.arguments())
    for empty in ({}, None):
        path = rewritten(released.checkpoint, tmp_path, lambda content, to=empty: content.update(state_dict_vae=to))
        with pytest.raises(WeightsError, match=r"changed\.pkl has no adapter of the .*with --codec osirdiff-x16"):
            convert_tadm(SMALL, **{**released.arguments(), "checkpoint": path})


def key_of(content, part: str, ending: str) -> str:
    return next(name for name in content[part] if name.endswith(ending))


def without(part: str, ending: str):
    return lambda content: content[part].__delitem__(key_of(content, part, ending))


def renamed(part: str, old: str, new: str):
    def change(content):
        name = key_of(content, part, old)
        content[part][name.replace(old, new)] = content[part].pop(name)

    return change


def reshaped(part: str, ending: str, shape: tuple[int, ...]):
    return lambda content: content[part].__setitem__(key_of(content, part, ending), torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("state_dict_unet", "to_q.lora_B.default.weight"), r"to_q\.lora_B\.default\.weight is missing"),
        (without("state_dict_unet", "conv_in.bias"), r"conv_in\.bias is missing in state_dict_unet"),
        (without("state_dict_refiner", "zero_conv_out.conv_in.bias"), r"zero_conv_out\.conv_in\.bias is missing"),
        (renamed("state_dict_vae", "vae_skip.weight", "other.weight"), "is of an adapter other, not vae_skip"),
        (renamed("state_dict_unet", "to_q.lora_A.default.weight", "to_q.what"), r"to_q\.what is no part of an adapter"),
        (reshaped("state_dict_unet", "conv_in.weight", (8, 9, 3, 3)), r"conv_in\.weight has the shape \(8, 9, 3, 3\)"),
        (
            reshaped("state_dict_timemapping", "noise_esti.0.conv_in.weight", (17, 4, 3, 3)),
            r"noise_esti\.0\.conv_in\.weight has the shape \(17, 4, 3, 3\), not .* older form of the time-step",
        ),
        (lambda content: content.__setitem__("rank_unet", 7), "has rank 6, but the file says 7"),
        (lambda content: content.__setitem__("rank_vae", "4"), "rank_vae is '4', not a rank"),
        (lambda content: content.__delitem__("state_dict_refiner"), "state_dict_refiner is missing"),
        (lambda content: content["state_dict_unet"].__setitem__("conv_in.bias", 5), r"conv_in\.bias is no tensor"),
        (lambda content: [content], "no tensors by name but a list"),
    ],
)
def test_a_main_file_that_is_not_as_published_is_refused_by_the_tensor(released, tmp_path, change, told):
    path = rewritten(released.checkpoint, tmp_path, change)
    with pytest.raises(WeightsError, match=told):
        convert_tadm(SMALL, **{**released.arguments(), "checkpoint": path})


def test_files_in_each_others_place_truncated_ones_and_those_of_another_scale_are_refused(released, tmp_path):
    with pytest.raises(WeightsError, match=r"is a file of the rescaling module; name it with --rescaling"):
        convert_tadm(SMALL, **{**released.arguments(), "checkpoint": released.rescaling})
    with pytest.raises(WeightsError, match=r"is TADM's main file; name it with --checkpoint"):
        convert_tadm(SMALL, **{**released.arguments(), "rescaling": released.checkpoint})
    with pytest.raises(WeightsError, match=r"dfrm\.ckpt is for the scale 16, not 32"):
        convert_tadm(TadmConfig(scale=32, size="small"), **released.arguments())
    content = Path(released.checkpoint).read_bytes()
    (tmp_path / "half.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"half\.pkl is no whole file of tensors alone"):
        convert_tadm(SMALL, **{**released.arguments(), "checkpoint": str(tmp_path / "half.pkl")})


class Anything:
    def __reduce__(self):
        return os.system, ("touch /tmp/a-checkpoint-ran",)


def test_nothing_of_a_pickle_is_ever_run(released, tmp_path):
    torch.save({"state_dict_unet": Anything()}, tmp_path / "evil.pkl")
    with pytest.raises(WeightsError, match=r"evil\.pkl is no whole file of tensors alone"):
        convert_tadm(SMALL, **{**released.arguments(), "checkpoint": str(tmp_path / "evil.pkl")})
    assert not Path("/tmp/a-checkpoint-ran").exists()


def unet_of(released: Published) -> dict[str, torch.Tensor]:
    return load_file(f"{released.base}/unet/{PART_FILE}")


def with_base(released: Published, *bases: object, **other) -> dict:
    return {**released.arguments(), "bases": [str(base) for base in bases], **other}


def test_of_two_bases_the_one_is_taken_that_the_checkpoint_was_trained_from(released, tmp_path):
    other = tmp_path / "other"
    write_base(other, seeded(9), prediction="epsilon")
    for bases in ((other, released.base), (released.base, other)):
        written = convert_tadm(
            SMALL, **with_base(released, *bases), url=str(tmp_path / f"{bases.index(other)}.safetensors")
        )
        assert written.settings["prediction"] == "v"
        assert f"distance of the checkpoint's conv_in: {bases[0]} " in written.origins["unet"]
        assert f", {bases[1]} " in written.origins["unet"]
    assert convert_tadm(SMALL, **released.arguments(), prediction="epsilon").settings["prediction"] == "epsilon"


def test_a_base_may_be_one_file_in_shards_a_pickle_or_at_a_url(released, tmp_path):
    expected = convert_tadm(SMALL, **released.arguments()).digest
    tensors = unet_of(released)
    prompt = tmp_path / "prompt.safetensors"
    save_file({"prompt": load(find(expected, []))["prompt"]}, prompt)
    more = {"prompt": str(prompt), "prediction": "v"}
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        write_part(tmp_path / "shards" / "unet" / shard, {name: tensors[name] for name in held})
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (tmp_path / "shards" / "unet" / f"{PART_FILE}.index.json").write_text(json.dumps(index))
    (tmp_path / "pickled").mkdir()
    torch.save(tensors, tmp_path / "pickled" / "diffusion_pytorch_model.bin")
    file = f"{released.base}/unet/{PART_FILE}"
    fsspec.filesystem("memory").pipe_file(f"/bases/sd/unet/{PART_FILE}", Path(file).read_bytes())
    places = (
        file,
        tmp_path / "shards",
        tmp_path / "pickled",
        "memory://bases/sd",
        f"memory://bases/sd/unet/{PART_FILE}",
    )
    with torch.device("meta"):
        network = SMALL.network().unet
    for named in places:
        with opened_place(str(named)) as place:
            assert equal(read_base(place, network).unet.tensors, tensors)
    assert convert_tadm(SMALL, **with_base(released, file, **more)).digest == expected
    (tmp_path / "shards" / "unet" / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"shards lacks b\.safetensors, a shard"):
        convert_tadm(SMALL, **with_base(released, tmp_path / "shards", **more))
    with pytest.raises(WeightsError, match=r"does not say what it predicts: add --prediction"):
        convert_tadm(SMALL, **with_base(released, file, prompt=str(prompt)))
    with pytest.raises(WeightsError, match=r"holds no text encoder; name the prompt's embedding"):
        convert_tadm(SMALL, **with_base(released, file, prediction="v"))


def test_a_base_of_another_family_is_refused_by_the_tensor_and_both_shapes(released, tmp_path):
    tensors = unet_of(released)
    cross = next(name for name in tensors if name.endswith("attn2.to_k.weight"))
    width, own = tensors[cross].shape
    path = tmp_path / "unet.safetensors"
    for tokens, family in ((768, "Stable Diffusion 1"), (2048, "Stable Diffusion XL")):
        save_file({**tensors, cross: torch.zeros(width, tokens)}, path)
        shapes = rf"\({width}, {tokens}\), not \({width}, {own}\)"
        with pytest.raises(WeightsError, match=rf"is {family}: the tensor {cross} has the shape {shapes}"):
            convert_tadm(SMALL, **with_base(released, path))
    save_file({f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}, path)
    with pytest.raises(WeightsError, match="is in the original layout"):
        convert_tadm(SMALL, **with_base(released, path))
    save_file({name: tensor for name, tensor in tensors.items() if name != "conv_out.bias"}, path)
    with pytest.raises(WeightsError, match=r"is no unet that fits: the tensor conv_out\.bias is missing"):
        convert_tadm(SMALL, **with_base(released, path))
    with pytest.raises(WeightsError, match="holds no unet"):
        convert_tadm(SMALL, **with_base(released, released.vae + "/.."))


def test_an_autoencoder_with_the_old_names_of_its_attention_is_read_as_the_published_one_has_them(released, tmp_path):
    expected = convert_tadm(SMALL, **released.arguments()).digest
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(f"{released.vae}/{PART_FILE}").items():
        now = next((new for new in old if f".{new}." in name), None)
        pointwise = tensor[:, :, None, None] if now and name.endswith("weight") else tensor
        tensors[name.replace(f".{now}.", f".{old[now]}.") if now else name] = pointwise.contiguous()
    assert any(".proj_attn." in name for name in tensors)
    write_part(tmp_path / "ft-mse" / PART_FILE, tensors)
    assert convert_tadm(SMALL, **with_base(released, released.base, vae=str(tmp_path / "ft-mse"))).digest == expected


def test_an_id_of_the_hub_is_read_from_its_cache_and_told_where_it_is_not_there(released, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError, match=r"made-up/ft-mse: it is not in the hub's cache, and the hub is not reached"):
        convert_tadm(SMALL, **with_base(released, released.base, vae="made-up/ft-mse"))
    repository = tmp_path / "hub" / "models--made-up--ft-mse"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    write_part(repository / "snapshots" / ("0" * 40) / PART_FILE, load_file(f"{released.vae}/{PART_FILE}"))
    expected = convert_tadm(SMALL, **released.arguments()).digest
    assert convert_tadm(SMALL, **with_base(released, released.base, vae="made-up/ft-mse")).digest == expected
    with pytest.raises(WeightsError, match=r"no/such/place: no such file or folder, nor an id of the hub"):
        convert_tadm(SMALL, **with_base(released, "no/such/place"))


def test_a_dtype_is_that_of_unet_and_autoencoder_alone(released):
    written = convert_tadm(SMALL, **released.arguments(), dtype="bfloat16")
    for name, tensor in load(written).items():
        assert tensor.dtype == (torch.bfloat16 if name.startswith(("unet.", "vae.")) else torch.float32)


def test_a_turbo_base_is_marked_as_one_that_no_archive_may_carry(released, tmp_path):
    turbo = tmp_path / "sd-turbo"
    turbo.symlink_to(released.base)
    written = convert_tadm(SMALL, **with_base(released, turbo))
    assert "Stability AI Community License" in written.licence
    assert not written.redistribution
    assert not convert_tadm(SMALL, **released.arguments(), redistribution=False, url=str(tmp_path / "w")).redistribution


def test_convert_shows_what_it_made_and_never_writes_over_another_file(released, tmp_path, capsys):
    output = str(tmp_path / "tadm.safetensors")
    named = ("--checkpoint", released.checkpoint, "--rescaling", released.rescaling, "--vae", released.vae)
    line = ("convert", "--codec", "tadm-x16", "--size", "small", *named, "--base", released.base, "--output", output)
    assert regrow_weights(*line) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == output
    assert any(line.split() == ["trained", "yes"] for line in told.splitlines())
    assert regrow_weights("show", output, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["settings"]["scale"], shown["settings"]["prediction"]) == (16, "v")
    with pytest.raises(WeightsError, match="is there already with another digest"):
        regrow_weights("make-random", "--codec", "tadm-x16", "--size", "small", "--output", output)


def test_make_random_says_untrained_and_show_repeats_it(tmp_path, capsys):
    output = str(tmp_path / "random.safetensors")
    for codec in ("tadm-x16", "osirdiff-x32", "faitheir-x16", "vae-x8"):
        assert regrow_weights("make-random", "--codec", codec, "--size", "small", "--output", f"{output}-{codec}") == 0
        assert "UNTRAINED" in capsys.readouterr().out
        assert regrow_weights("show", f"{output}-{codec}") == 0
        assert "UNTRAINED" in capsys.readouterr().out


def test_nano_has_its_own_size_and_no_other(tmp_path, capsys):
    output = str(tmp_path / "nano.safetensors")
    assert regrow_weights("make-random", "--codec", "nano-x16", "--output", output) == 0
    assert "8,302,551 numbers" in capsys.readouterr().out
    with pytest.raises(CodecError, match="size full: nano has a size of its own; leave it out"):
        regrow_weights("make-random", "--codec", "nano-x16", "--size", "full", "--output", output)


def test_the_autoencoder_alone_is_converted_for_the_codec_that_is_nothing_else(released, capsys):
    assert regrow_weights("convert", "--codec", "vae-x8", "--size", "small", "--vae", released.vae, "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["licence"], written["settings"]["name"]) == ("MIT", "vae")


def test_what_cannot_be_converted_is_refused_with_the_reason():
    with pytest.raises(WeightsError, match="FaithEIR's authors have released none"):
        regrow_weights("convert", "--codec", "faitheir-x16")
    with pytest.raises(UsageError, match="bicubic-x16 runs on no weights"):
        regrow_weights("make-random", "--codec", "bicubic-x16")
    with pytest.raises(UsageError, match=r"tadm-x16 lacks --rescaling, --base"):
        regrow_weights("convert", "--codec", "tadm-x16", "--checkpoint", "model.pkl")
