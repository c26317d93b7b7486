"""Published files to the one file that a codec runs on: adapters merged, names its own, every tensor proved to fit."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ops.metrics.base import Unavailable
from ops.weights import codec_files
from ops.weights.base_models import DEFAULT_VAE, Base, Part, choose, read_base, read_part
from ops.weights.base_places import Place, opened_place
from ops.weights.checkpoints import RescalingCheckpoint, TadmCheckpoint, read_rescaling, read_tadm
from ops.weights.codec_files import CodecWeights
from ops.weights.files import WeightsError
from ops.weights.licences import TADM, licence_of_base, licence_of_vae
from ops.weights.lora import merge, replace
from ops.weights.prompt import embed_prompt, read_prompt
from ops.weights.random_weights import in_dtype

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ops.codecs.learned import LearnedConfig

Prediction: TypeAlias = Literal["epsilon", "v"]
KeptDtype: TypeAlias = Literal["keep", "float32", "bfloat16", "float16"]
CONV_IN = "conv_in.weight"
OLDER_TIMESTEP = "noise_esti.0.conv_in.weight"


def convert_tadm(
    config: "LearnedConfig",
    *,
    checkpoint: str,
    rescaling: str,
    bases: Sequence[str],
    vae: str = DEFAULT_VAE,
    prompt: str = "",
    prediction: Prediction | None = None,
    dtype: KeptDtype = "keep",
    redistribution: bool = True,
    url: str = "",
) -> CodecWeights:
    """Write TADM's weights, or OSIRDiff's, as one file, and return what it says of itself.

    `checkpoint` is the main file and `rescaling` that of the rescaling module; `bases`, `vae` and `prompt` are places
    as `ops.weights.base_places` has them. Of several bases the one is taken from which the checkpoint was trained;
    `prediction` is what it predicts, else its folder says so. `dtype` is that of U-Net and autoencoder, `keep` that of
    their files; all else is kept in float32. Without a URL the file goes into the folder of weights. Raises
    WeightsError naming the tensor, the value and the remedy, and Unavailable where a library is missing.
    """
    system = _on_meta(config)
    main = read_tadm(checkpoint)
    _check_method(config, checkpoint, main)
    module = read_rescaling(rescaling, int(config.network_settings()["scale"]))
    _check_parts(system, main, module)
    with contextlib.ExitStack() as places:
        named = [places.enter_context(opened_place(base)) for base in bases]
        chosen, reason = choose([read_base(place, _child(system, "unet")) for place in named], main.conv_in[CONV_IN])
        own_vae = read_part(places.enter_context(opened_place(vae)), "vae", _child(system, "vae"))
        words = _prompt(prompt, next(place for place in named if place.named == chosen.unet.named), system)
        merged = _merged(system, main, chosen.unet, own_vae, keep=dtype == "keep")
        tensors = in_dtype({**merged, **_prefixed(main, module), **words.tensors}, dtype)
        _prove(_on_meta(config), tensors)
        return codec_files.write(
            url,
            tensors,
            settings=_settings(config, prediction or _predicted(chosen)),
            trained=True,
            **_rights(chosen.unet.named, vae, redistribution),
            origins={
                "unet": f"{chosen.unet.origin}; {reason}; adapter and conv_in of {main.origin}",
                "vae": own_vae.origin + (f"; adapter of {main.origin}" if main.vae else ""),
                "timestep": main.origin,
                "scheduler": main.origin,
                "rescaling": module.origin,
                "prompt": words.origin,
            },
        )


def convert_vae(
    config: "LearnedConfig",
    *,
    vae: str = DEFAULT_VAE,
    dtype: KeptDtype = "keep",
    redistribution: bool = True,
    url: str = "",
) -> CodecWeights:
    """Write the autoencoder alone, for the codec that bounds all others in its latents. Raises as `convert_tadm`."""
    with opened_place(vae) as place:
        part = read_part(place, "vae", _child(_on_meta(config), "vae"))
        tensors = in_dtype({f"vae.{name}": tensor for name, tensor in part.tensors.items()}, dtype)
        _prove(_on_meta(config), tensors)
        licence = licence_of_vae(vae)
        return codec_files.write(
            url,
            tensors,
            settings=config.network_settings(),
            trained=True,
            licence=licence.words,
            redistribution=redistribution and licence.redistribution,
            origins={"vae": part.origin},
        )


def convert_faitheir(config: "LearnedConfig") -> CodecWeights:
    """Raise WeightsError: there is nothing to convert yet. FAITHEIR_NAMES is where its names will be mapped."""
    raise WeightsError(
        f"{config.spelling()} has no published weights (FaithEIR's authors have released none); `regrow weights "
        "make-random` makes untrained ones"
    )


# From prefixes in FaithEIR's files, were they in the layout of its relatives, to ours. Not seen: nothing is released.
FAITHEIR_NAMES = {
    "state_dict_unet": "unet.",
    "state_dict_vae": "vae.",
    "state_dict_inn": "reversible.",
    "state_dict_pse": "semantics.",
}


def _on_meta(config: "LearnedConfig") -> "nn.Module":
    try:
        import torch  # noqa: PLC0415  the base install has none

        with torch.device("meta"):  # shapes only: tensors come from files
            return config.network()
    except ModuleNotFoundError as error:
        raise Unavailable(f"converting needs {error.name}: pip install 'regrow[codecs]'") from error


def _child(system: "nn.Module", name: str) -> "nn.Module":
    children = dict(system.named_children())
    if name not in children:
        raise WeightsError(f"these settings have no {name}, so that no published checkpoint fits them")
    return children[name]


def _check_method(config: "LearnedConfig", checkpoint: str, main: TadmCheckpoint) -> None:
    """Raise WeightsError where a checkpoint is the other method's: TADM's alone has an adapter of the autoencoder."""
    has, method = ("an", "tadm") if main.vae else ("no", "osirdiff")
    if config.name != method:
        other = config.spelling().replace(config.name, method, 1)
        raise WeightsError(
            f"{checkpoint} has {has} adapter of the autoencoder (state_dict_vae), so that it is no file of "
            f"{config.spelling()}: convert it with --codec {other}"
        )


def _check_parts(system: "nn.Module", main: TadmCheckpoint, module: RescalingCheckpoint) -> None:
    """Raise WeightsError with the file and the tensor where a small network does not fit; before anything slow."""
    from ops.networks.strict import misfit  # noqa: PLC0415  it imports torch

    given = {
        "timestep": (main.origin, main.timestep),
        "scheduler": (main.origin, main.scheduler),
        "rescaling": (module.origin, module.tensors),
    }
    for name, (origin, tensors) in given.items():
        if wrong := misfit(_child(system, name), tensors):
            older = "; it is an older form of the time-step prediction" if OLDER_TIMESTEP in wrong else ""
            raise WeightsError(f"{origin.partition(' sha256 ')[0]}, {name}: {wrong}{older}; get the released file")


def _merged(system: "nn.Module", main: TadmCheckpoint, unet: Part, vae: Part, *, keep: bool) -> "dict[str, Tensor]":
    """Return U-Net and autoencoder with their adapters merged in float32, in their files' dtypes if to be kept."""
    merged: dict[str, Tensor] = {}
    for name, part, adapter in (("unet", unet, main.unet), ("vae", vae, main.vae)):
        network = _child(system, name)
        network.load_state_dict({key: tensor.float() for key, tensor in part.tensors.items()}, assign=True)
        if name == "unet":
            replace(network, {key: tensor.float() for key, tensor in main.conv_in.items()})
        if adapter is not None:
            network = merge(network, adapter)
        for key, tensor in network.state_dict().items():
            merged[f"{name}.{key}"] = tensor.to(part.tensors[key].dtype) if keep else tensor
    return merged


def _prefixed(main: TadmCheckpoint, module: RescalingCheckpoint) -> "dict[str, Tensor]":
    parts = {"timestep": main.timestep, "scheduler": main.scheduler, "rescaling": module.tensors}
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _prompt(given: str, base: Place, system: "nn.Module") -> Part:
    shape = tuple(system.state_dict()["prompt"].shape)
    return read_prompt(given, shape) if given else embed_prompt(base, shape)


def _predicted(base: Base) -> Prediction:
    if base.prediction is None:
        raise WeightsError(
            f"{base.unet.named} does not say what it predicts: add --prediction v (Stable Diffusion 2.1) or epsilon "
            "(2.1-base)"
        )
    return base.prediction


def _settings(config: "LearnedConfig", prediction: Prediction) -> dict[str, Any]:
    """Return what the file records: what the U-Net predicts is resolved, whatever the config had."""
    resolved = msgspec.convert({**msgspec.to_builtins(config), "prediction": prediction}, type(config))
    return resolved.network_settings()


def _rights(base: str, vae: str, redistribution: bool) -> dict[str, Any]:
    of_base, of_vae = licence_of_base(base), licence_of_vae(vae)
    return {
        "licence": f"TADM: {TADM.words}; U-Net and prompt: {of_base.words}; autoencoder: {of_vae.words}",
        "redistribution": redistribution and all(one.redistribution for one in (TADM, of_base, of_vae)),
    }


def _prove(system: "nn.Module", tensors: "dict[str, Tensor]") -> None:
    from ops.networks.strict import misfit  # noqa: PLC0415  it imports torch

    if wrong := misfit(system, tensors):
        raise WeightsError(f"what was converted does not fit the codec: {wrong}; use the files of one release")
