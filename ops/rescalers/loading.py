"""A system of networks with its weights, where it is to run."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from ops.codecs.learned import MisfitWeights
from ops.metrics.base import Unavailable
from ops.networks.compact_vae import CompactVae
from ops.networks.strict import misfit
from ops.weights import codec_files

if TYPE_CHECKING:
    from ops.codecs.base import Runtime
    from ops.codecs.latent import LatentConfig
    from ops.rescalers.system import System


def load_system(config: "LatentConfig", runtime: "Runtime") -> "System":
    """Return the system of a config with the weights that it names, proven by their digest.

    Raises Unavailable where there are none, or where they are not those.
    """
    if not config.weights:
        raise Unavailable(
            f"{config.spelling()} needs weights: give --weights FILE (`regrow weights convert` makes one of published "
            "checkpoints; `regrow weights make-random` an untrained one, to try things out)"
        )
    found = codec_files.find(config.weights, runtime.weights)
    try:
        config.check_made_for(found.settings)
    except MisfitWeights as why:
        raise Unavailable(f"{found.url} does not fit {config.spelling()}: {why}") from why
    with torch.device("meta"):  # shapes only: the tensors come from the file
        system = config.network()
    tensors = codec_files.load(found)
    if wrong := misfit(system, tensors):
        raise Unavailable(f"{found.url} does not fit {config.spelling()}: {wrong}; convert the checkpoint anew")
    system.load_state_dict(tensors, assign=True)
    return placed(system, runtime.device)


def placed(system: "System", device: str) -> "System":
    """Return a system ready to infer on a device: autoencoder and U-Net in their precision, all else in float32."""
    precision = getattr(torch, system.passes.precision)
    for name, network in system.named_children():
        # nn.Module's own: diffusers' warns of parts to be kept in float32 even where there are none.
        nn.Module.to(network, device, precision if name in ("vae", "unet") else torch.float32)
    nn.Module.to(system, device)
    system.batched = torch.device(device).type != "cpu"
    if system.batched or isinstance(getattr(system, "vae", None), CompactVae):
        # Of Stable Diffusion's convolutions a processor gains nothing by it, of small ones a third.
        nn.Module.to(system, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if system.batched and system.passes.compiled and system.denoises:
        system.compiled = (torch.compile(system.get_submodule("unet"), dynamic=False),)
    return system.requires_grad_(False).eval()
