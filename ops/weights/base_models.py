"""Parts of a base model, Stable Diffusion 2.1 and its kin: read, refused where of another family, and chosen."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from ops.weights.base_places import Place
from ops.weights.files import WeightsError
from ops.weights.opened import opened, sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT_VAE = "stabilityai/sd-vae-ft-mse"
PREDICTIONS: dict[str, Literal["epsilon", "v"]] = {"epsilon": "epsilon", "v_prediction": "v"}
# By how wide the prompt's tokens are (the inputs of to_k in attention across).
FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
ORIGINAL_LAYOUT = re.compile(r"model\.diffusion_model\.|first_stage_model\.|(en|de)coder\.(down|up)\.\d|input_blocks\.")
# What diffusers called the parts of an autoencoder's attention until 2023, as the published ft-MSE files still do.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
CONV_IN = "conv_in.weight"


class Part(Struct, frozen=True, kw_only=True):
    """Tensors of a part by diffusers' names, and where they come from with the sha256 of each file."""

    named: str
    origin: str
    tensors: "dict[str, Tensor]"


class Base(Struct, frozen=True, kw_only=True):
    """A U-Net, and what it predicts where its folder says so."""

    unet: Part
    prediction: Literal["epsilon", "v"] | None


def read_base(place: Place, network: "nn.Module") -> Base:
    """Return the U-Net of a place, which must fit a network (its shapes count). Raises WeightsError."""
    return Base(unet=read_part(place, "unet", network), prediction=_prediction(place))


def read_part(place: Place, part: str, network: "nn.Module") -> Part:
    """Return the part `unet` or `vae` of a place, which must fit a network (its shapes count).

    Raises WeightsError with the tensor and both shapes where it is of another family, missing or one too many.
    """
    from ops.networks.strict import misfit  # noqa: PLC0415  it imports torch

    paths = place.tensor_files(part)
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= opened(path).content
    _refuse_original_layout(place.named, tensors)
    tensors = {_current(name): _squeezed(name, tensor) for name, tensor in tensors.items()}
    _refuse_family(place.named, tensors, network)
    if wrong := misfit(network, tensors):
        raise WeightsError(f"{place.named} is no {part} that fits: {wrong}; use Stable Diffusion 2.1's")
    return Part(named=place.named, origin=_origin(place.named, paths), tensors=tensors)


def choose(bases: Sequence[Base], conv_in: "Tensor") -> tuple[Base, str]:
    """Return the base that a checkpoint was trained from, and why, in words.

    The checkpoint holds a fine-tuned conv_in: the base whose own is nearest is the one. Of one base, the distance is
    told, for people to judge. Raises WeightsError where its shape is another.
    """
    own = bases[0].unet.tensors[CONV_IN].shape
    if conv_in.shape != own:
        raise WeightsError(
            f"the checkpoint's {CONV_IN} has the shape {tuple(conv_in.shape)}, not {tuple(own)}; get it anew"
        )
    distances = [float((one.unet.tensors[CONV_IN].float() - conv_in.float()).norm()) for one in bases]
    told = ", ".join(f"{one.unet.named} {distance:.4g}" for one, distance in zip(bases, distances, strict=True))
    nearest = bases[distances.index(min(distances))]
    return nearest, f"distance of the checkpoint's conv_in: {told}"


def _prediction(place: Place) -> Literal["epsilon", "v"] | None:
    """Return what the folder's scheduler says that the U-Net predicts; nothing where there is none."""
    path = None if place.is_file else place.near("scheduler/scheduler_config.json")
    if path is None:
        return None
    try:
        kind = msgspec.json.decode(Path(path).read_bytes()).get("prediction_type", "epsilon")
        return PREDICTIONS[kind]
    except (msgspec.DecodeError, AttributeError, TypeError, KeyError) as error:
        known = ", ".join(PREDICTIONS)
        raise WeightsError(f"{path} has no prediction_type of {known} ({error}); say it with --prediction") from error


def _refuse_original_layout(named: str, tensors: "dict[str, Tensor]") -> None:
    found = next((name for name in tensors if ORIGINAL_LAYOUT.match(name)), None)
    if found:
        raise WeightsError(
            f"{named} is in the original layout (the tensor {found}); name a folder as diffusers writes it, which "
            "from_single_file and save_pretrained of diffusers make of such a file"
        )


def _refuse_family(named: str, tensors: "dict[str, Tensor]", network: "nn.Module") -> None:
    """Raise WeightsError where attention across has other tokens than the network's: the family shows in them."""
    for name, own in network.state_dict().items():
        given = tensors.get(name)
        if name.endswith("attn2.to_k.weight") and given is not None and given.shape != own.shape:
            family = FAMILIES.get(given.shape[-1], "another family")
            shapes = f"the shape {tuple(given.shape)}, not {tuple(own.shape)}"
            raise WeightsError(f"{named} is {family}: the tensor {name} has {shapes}; use Stable Diffusion 2.1")
    strange = next((name for name in tensors if name.startswith("add_embedding.")), None)
    if strange:
        raise WeightsError(f"{named} is Stable Diffusion XL: it has {strange}; use Stable Diffusion 2.1")


def _current(name: str) -> str:
    """Return a tensor's name in today's diffusers."""
    old = re.fullmatch(r"(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)", name)
    return f"{old[1]}.{OLD_ATTENTION[old[2]]}.{old[3]}" if old else name


def _squeezed(name: str, tensor: "Tensor") -> "Tensor":
    """Return weights of such an attention as a matrix, where they were kept as a 1x1 convolution."""
    return tensor[:, :, 0, 0] if _current(name) != name and tensor.ndim == 4 else tensor


def _origin(named: str, paths: Sequence[str]) -> str:
    files = ", ".join(f"{Path(path).name} sha256 {sha256_of(path)}" for path in paths)
    return f"{named}: {files}"
