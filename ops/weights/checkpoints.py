"""The two files that TADM (Wang et al., ICCV 2025) publishes a scale: main checkpoint and rescaling module."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ops.weights.files import WeightsError
from ops.weights.opened import opened

if TYPE_CHECKING:
    from torch import Tensor

UNET_ADAPTER, VAE_ADAPTER = "default", "vae_skip"
TRAINED_WHOLE = ("conv_in.weight", "conv_in.bias")
RESCALING_PREFIXES = ("down_module.", "latent_module.", "fusing_module.", "final_module.", "inv_module.")


class Adapter(Struct, frozen=True):
    """LoRA of one network: its rank, the modules that have it (names, or one pattern), and its tensors by name."""

    name: str
    rank: int
    targets: list[str] | str
    tensors: "dict[str, Tensor]"


class TadmCheckpoint(Struct, frozen=True, kw_only=True):
    """What the main file holds. OSIRDiff's, the method's earlier form, has no `vae`. `conv_in` replaces the base's."""

    origin: str
    unet: Adapter
    vae: Adapter | None
    conv_in: "dict[str, Tensor]"
    timestep: "dict[str, Tensor]"
    scheduler: "dict[str, Tensor]"


def read_tadm(url: str) -> TadmCheckpoint:
    """Return what a main file holds, its adapters checked against their ranks.

    Raises WeightsError naming what is missing, unknown or of another shape.
    """
    file = opened(url)
    _refuse_rescaling(url, file.content)
    unet = _tensors(url, file.content, "state_dict_unet")
    vae = _tensors(url, file.content, "state_dict_vae") if file.content.get("state_dict_vae") else {}
    return TadmCheckpoint(
        origin=file.origin,
        unet=_adapter(url, UNET_ADAPTER, file.content, "unet", _without(unet, TRAINED_WHOLE)),
        vae=_adapter(url, VAE_ADAPTER, file.content, "vae", vae) if vae else None,
        conv_in={name: _item(url, unet, name, "state_dict_unet") for name in TRAINED_WHOLE},
        timestep=_tensors(url, file.content, "state_dict_timemapping"),
        scheduler=_tensors(url, file.content, "state_dict_refiner"),
    )


class RescalingCheckpoint(Struct, frozen=True, kw_only=True):
    """What the file of the rescaling module holds, by the published names without any prefix."""

    origin: str
    tensors: "dict[str, Tensor]"


def read_rescaling(url: str, scale: int) -> RescalingCheckpoint:
    """Return what a file of the rescaling module holds, flat or below `state_dict`, also after `module.`.

    Raises WeightsError where it is of another scale, or another file.
    """
    file = opened(url)
    content = file.content.get("state_dict", file.content)
    if "state_dict_unet" in file.content or not isinstance(content, Mapping):
        raise WeightsError(f"{url} is TADM's main file; name it with --checkpoint, and the rescaling file here")
    tensors = {name.removeprefix("module."): tensor for name, tensor in _only_tensors(url, content).items()}
    if not any(name.startswith(RESCALING_PREFIXES) for name in tensors):
        raise WeightsError(f"{url} holds no rescaling module (no {RESCALING_PREFIXES[0]}*); name the file that does")
    found = scale_of(tensors)
    if found not in (None, scale):
        raise WeightsError(f"{url} is for the scale {found}, not {scale}: name the file for {scale}, or codec x{found}")
    return RescalingCheckpoint(origin=file.origin, tensors=tensors)


def scale_of(tensors: "Mapping[str, Tensor]") -> int | None:
    """Return the scale of a rescaling module: each halving of the pixel guidance has one 1x1 convolution.

    None without pixel guidance, as in that ablation: its scale shows in no name.
    """
    halvings = sum(re.fullmatch(r"down_module\.\d+\.downsample\.1\.weight", name) is not None for name in tensors)
    return 2**halvings if halvings else None


def _refuse_rescaling(url: str, content: Mapping[str, Any]) -> None:
    inner = content.get("state_dict", content)
    names = [str(name).removeprefix("module.") for name in inner] if isinstance(inner, Mapping) else []
    if any(name.startswith(RESCALING_PREFIXES) for name in names):
        raise WeightsError(f"{url} is a file of the rescaling module; name it with --rescaling, and the main file here")


def _adapter(url: str, name: str, content: Mapping[str, Any], network: str, tensors: "dict[str, Tensor]") -> Adapter:
    rank = _item(url, content, f"rank_{network}", "it")
    targets = _item(url, content, f"{network}_lora_target_modules", "it")
    if type(rank) is not int or rank < 1:
        raise WeightsError(f"{url}: rank_{network} is {rank!r}, not a rank; get the file anew")
    if not isinstance(targets, str) and not (
        isinstance(targets, list | tuple | set) and all(isinstance(one, str) for one in targets)
    ):
        raise WeightsError(
            f"{url}: {network}_lora_target_modules is {targets!r}, no names of modules; get the file anew"
        )
    _check_adapter(url, name, rank, tensors)
    return Adapter(name, rank, targets if isinstance(targets, str) else sorted(targets), tensors)


def _check_adapter(url: str, name: str, rank: int, tensors: "dict[str, Tensor]") -> None:
    """Raise WeightsError unless each tensor is one of this adapter, in its rank, and half of a pair."""
    halves = {key: _half(url, name, key) for key in tensors}  # names first: a wrong one leaves its partner alone
    for key, tensor in tensors.items():
        module, half = halves[key]
        found = tensor.shape[0 if half == "A" else 1] if tensor.ndim > 1 else 0
        if found != rank:
            raise WeightsError(f"{url}: the tensor {key} has rank {found}, but the file says {rank}; get it anew")
        other = f"{module}.lora_{'B' if half == 'A' else 'A'}.{name}.weight"
        if other not in tensors:
            raise WeightsError(f"{url}: the tensor {other} is missing; get the file anew")


def _half(url: str, name: str, key: str) -> tuple[str, str]:
    """Return the module and the half, A or B, of a tensor of an adapter by its name."""
    parts = re.fullmatch(r"(.+)\.lora_([AB])\.(.+)\.weight", key)
    if parts is None or parts[3] != name:
        what = "no part of an adapter" if parts is None else f"of an adapter {parts[3]}, not {name}"
        raise WeightsError(f"{url}: the tensor {key} is {what}; get the released file")
    return parts[1], parts[2]


def _tensors(url: str, content: Mapping[str, Any], name: str) -> "dict[str, Tensor]":
    return _only_tensors(url, _item(url, content, name, "it"))


def _item(url: str, content: Mapping[str, Any], name: str, whole: str) -> Any:
    if name not in content:
        raise WeightsError(f"{url}: {name} is missing in {whole}: not TADM's main file, or an older form of it")
    return content[name]


def _only_tensors(url: str, content: Any) -> "dict[str, Tensor]":
    import torch  # noqa: PLC0415  the base install has none

    if not isinstance(content, Mapping):
        raise WeightsError(f"{url} holds a {type(content).__name__} where tensors by name should be; get it anew")
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise WeightsError(f"{url}: {name} is no tensor of weights; get the released file")
    return dict(content)


def _without(tensors: "dict[str, Tensor]", names: tuple[str, ...]) -> "dict[str, Tensor]":
    return {name: tensor for name, tensor in tensors.items() if name not in names}
