"""Files that no package carries: their publishers' own, which users bring with `regrow weights pull NAME --from`."""

import io
import pickle
from typing import TYPE_CHECKING

from ops.weights.files import WeightFile, WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Numbers that RN50.pt keeps among its tensors, and counts of training batches: no part of any network here.
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
NEVER_USED = ".num_batches_tracked"


def read_inception(content: bytes) -> "dict[str, Tensor]":
    """Return the tensors of Inception-v3 as FID uses it."""
    from ops.networks.inception import InceptionV3  # noqa: PLC0415  the base install has no torch

    return _fitting(_unpickled(content), InceptionV3)


def read_musiq(content: bytes) -> "dict[str, Tensor]":
    """Return the tensors of MUSIQ."""
    from ops.networks.musiq import Musiq  # noqa: PLC0415  the base install has no torch

    return _fitting(_unpickled(content), Musiq)


def read_clip(content: bytes) -> "dict[str, Tensor]":
    """Return the tensors of CLIP RN50 out of a TorchScript archive. Loading one may run code: prove its bytes first."""
    import torch  # noqa: PLC0415  the base install has none

    from ops.networks.clip import Clip  # noqa: PLC0415  it imports torch

    try:
        tensors = torch.jit.load(io.BytesIO(content), map_location="cpu").state_dict()
    except RuntimeError as error:
        raise WeightsError(f"no TorchScript archive ({_line(error)}); get the file anew") from error
    return _fitting(tensors, Clip)


def _unpickled(content: bytes) -> "dict[str, Tensor]":
    """Return the tensors of a file of torch.save, also where they lie below `params`."""
    import torch  # noqa: PLC0415  the base install has none

    try:
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"no file of tensors ({_line(error)}); get the file anew") from error
    if not isinstance(tensors, dict):
        raise WeightsError(f"no tensors by name but a {type(tensors).__name__}; get the file anew")
    return tensors.get("params", tensors)


def _fitting(tensors: "dict[str, Tensor]", network: "type[nn.Module]") -> "dict[str, Tensor]":
    """Return a network's tensors without what only training needs. Raises WeightsError unless they fit it."""
    import torch  # noqa: PLC0415  the base install has none

    from ops.networks.strict import misfit  # noqa: PLC0415  it imports torch

    kept = {
        name: tensor.contiguous()
        for name, tensor in tensors.items()
        if name not in NOT_WEIGHTS and not name.endswith(NEVER_USED)
    }
    with torch.device("meta"):  # shapes only
        wrong = misfit(network(), kept)
    if wrong:
        raise WeightsError(f"no weights of {network.__name__}: {wrong}; get the file anew")
    return kept


def _line(error: Exception) -> str:
    """Return the beginning of an error of torch, which can be pages."""
    return " ".join(str(error).split())[:120]


_PYTORCH_FID = "https://github.com/mseitzer/pytorch-fid"
_PYIQA = "https://github.com/chaofengc/IQA-PyTorch"
_CLIP_SHA256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"

OFFICIAL = (
    WeightFile(
        name="fid-inception",
        what="Inception-v3 of TensorFlow's archive inception-2015-12-05, for FID and KID",
        file="pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d",
        licence="Apache-2.0",
        origin=_PYTORCH_FID,
        read=read_inception,
        url=f"{_PYTORCH_FID}/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
    WeightFile(
        name="musiq-koniq",
        what="MUSIQ trained on KonIQ-10k, converted for PyTorch",
        file="musiq_koniq_ckpt-e95806b9.pth",
        sha256="e95806b9",
        licence="Apache-2.0 (Google's weights); the conversion comes with pyiqa, which is for non-commercial use only",
        origin=_PYIQA,
        read=read_musiq,
        url=f"{_PYIQA}/releases/download/v0.1-weights/musiq_koniq_ckpt-e95806b9.pth",
    ),
    WeightFile(
        name="clip-rn50",
        what="CLIP with the image network RN50, for CLIPIQA",
        file="RN50.pt",
        sha256=_CLIP_SHA256,
        licence="MIT",
        origin="https://github.com/openai/CLIP",
        read=read_clip,
        url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/RN50.pt",
    ),
)
