"""LoRA (Hu et al., 2022) merged into the network that it adapts, by peft: nothing of it is left at run time."""

from typing import TYPE_CHECKING, Any

from ops.metrics.base import Unavailable
from ops.weights.checkpoints import Adapter
from ops.weights.files import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# peft's own defaults of the time, which the checkpoints do not record: the scaling is ALPHA / rank.
ALPHA = 8


def merge(network: "nn.Module", adapter: Adapter, alpha: float = ALPHA) -> "nn.Module":
    """Return a network of float32 tensors with an adapter merged into them; its own tensors are changed.

    A linear layer gains scaling * B @ A, a convolution scaling * the sum over ranks of B[o, r] * A[r, i, :, :]. Raises
    WeightsError where a tensor of the adapter is missing, belongs to no module or has another shape.
    """
    import torch  # noqa: PLC0415  the base install has none

    injected = inject(network, adapter, alpha)
    wanted = {name: tensor for name, tensor in network.state_dict().items() if _of_adapter(name)}
    _check(wanted, adapter.tensors)
    tensors = {name: tensor.to(torch.float32) for name, tensor in adapter.tensors.items()}
    network.load_state_dict(tensors, strict=False, assign=True)
    with torch.no_grad():
        return injected.merge_and_unload(safe_merge=True)


def inject(network: "nn.Module", adapter: Adapter, alpha: float = ALPHA) -> Any:
    """Return peft's model of a network with an adapter whose tensors take no memory yet: they are on `meta`."""
    try:
        from peft import LoraConfig  # noqa: PLC0415  it takes seconds to import
        from peft.tuners.lora import LoraModel  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Unavailable(f"merging LoRA needs {error.name}: pip install 'regrow[codecs]'") from error
    targets: Any = adapter.targets
    config = LoraConfig(r=adapter.rank, lora_alpha=alpha, target_modules=targets)  # pyright: ignore[reportCallIssue, reportArgumentType]
    try:
        return LoraModel(network, {adapter.name: config}, adapter.name, low_cpu_mem_usage=True)
    except ValueError as error:  # no module is called so, or one of a kind that LoRA does not know
        said = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"the adapter {adapter.name} fits no module ({said}); use the base it was made for"
        ) from error


def replace(network: "nn.Module", tensors: "dict[str, Tensor]") -> None:
    """Put tensors in the place of a network's own. Raises WeightsError where one is unknown or has another shape."""
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            has = f"has the shape {tuple(own[name].shape)}" if name in own else "is not in it"
            raise WeightsError(f"the tensor {name} of shape {tuple(tensor.shape)} fits no network whose own {has}")
    network.load_state_dict(tensors, strict=False, assign=True)


def _of_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def _check(wanted: "dict[str, Tensor]", given: "dict[str, Tensor]") -> None:
    for name, tensor in wanted.items():
        if name not in given:
            raise WeightsError(f"the adapter's tensor {name} is missing; get the checkpoint anew")
        if given[name].shape != tensor.shape:
            shapes = f"the shape {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
            raise WeightsError(f"the adapter's tensor {name} has {shapes}; use the base that it was made for")
    strangers = sorted(set(given) - set(wanted))
    if strangers:
        raise WeightsError(f"the adapter's tensor {strangers[0]} belongs to no module; use the base it was made for")
