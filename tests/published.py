"""Files in the layouts that TADM and Stable Diffusion are published in, made of small random networks."""

import copy
import json
from pathlib import Path

import torch
from msgspec import Struct
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from ops.codecs.tadm import TadmConfig
from ops.rescalers.tadm import Tadm
from ops.weights.checkpoints import Adapter
from ops.weights.lora import inject

SMALL = TadmConfig(scale=16, size="small")
UNET_TARGETS = [
    "to_k", "to_q", "to_v", "to_out.0", "conv", "conv1", "conv2", "conv_shortcut", "conv_out", "proj_in", "proj_out",
    "ff.net.2", "ff.net.0.proj",
]  # fmt: skip
VAE_TARGETS = r"^decoder\..*(conv1|conv2|conv_in|conv_shortcut|conv|conv_out|to_k|to_q|to_v|to_out\.0)$"
UNET_RANK, VAE_RANK = 6, 4
PART_FILE = "diffusion_pytorch_model.safetensors"


class Published(Struct, frozen=True):
    """Paths of a release, and its networks with their adapters beside them, not merged."""

    checkpoint: str
    rescaling: str
    base: str
    vae: str
    system: Tadm

    def arguments(self) -> dict:
        return {"checkpoint": self.checkpoint, "rescaling": self.rescaling, "bases": [self.base], "vae": self.vae}


def seeded(seed: int, config: TadmConfig = SMALL) -> Tadm:
    """Return a small system in which no tensor is zero."""
    torch.manual_seed(seed)
    system = config.network().eval().requires_grad_(False)
    for tensor in system.state_dict().values():
        tensor.add_(0.02 * torch.randn_like(tensor))
    return system


def publish(folder: Path, *, vae_adapter: bool = True, config: TadmConfig = SMALL) -> Published:
    """Write a release and return it. Its system runs as the published code does: adapters beside the layers."""
    system = seeded(0, config)
    base, vae = folder / "stable-diffusion-2-1", folder / "sd-vae-ft-mse"
    write_base(base, system, prediction="v_prediction")
    write_part(vae / PART_FILE, system.vae.state_dict())
    conv_in = {
        name: t + 0.01 * torch.randn_like(t) for name, t in system.unet.state_dict().items() if "conv_in" in name
    }
    system.unet.load_state_dict(conv_in, strict=False)
    main = {
        "unet_lora_target_modules": UNET_TARGETS,
        "rank_unet": UNET_RANK,
        "state_dict_unet": bf16({**adapt(system.unet, "default", UNET_RANK, UNET_TARGETS), **conv_in}),
        "vae_lora_target_modules": VAE_TARGETS,
        "rank_vae": VAE_RANK,
        "state_dict_vae": bf16(adapt(system.vae, "vae_skip", VAE_RANK, VAE_TARGETS)) if vae_adapter else {},
        "state_dict_timemapping": system.timestep.state_dict(),
        "state_dict_refiner": system.scheduler.state_dict(),
    }
    torch.save(main, folder / "model_sr_x16.pkl")
    torch.save({"state_dict": system.rescaling.state_dict()}, folder / "dfrm.ckpt")
    system.unet.load_state_dict(main["state_dict_unet"], strict=False)
    system.vae.load_state_dict(main["state_dict_vae"], strict=False)
    return Published(str(folder / "model_sr_x16.pkl"), str(folder / "dfrm.ckpt"), str(base), str(vae), system)


def adapt(network: nn.Module, name: str, rank: int, targets: list[str] | str) -> dict[str, Tensor]:
    """Put random adapters beside a network's layers, and return their tensors."""
    inject(network, Adapter(name, rank, targets, {}))
    wanted = {key: tensor for key, tensor in network.state_dict().items() if ".lora_" in key}
    tensors = {key: 0.2 * torch.randn(tensor.shape) for key, tensor in wanted.items()}
    network.load_state_dict(tensors, strict=False, assign=True)
    return tensors


def bf16(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def write_base(folder: Path, system: Tadm, prediction: str) -> None:
    """Write U-Net, scheduler and text encoder as diffusers' pipelines do."""
    write_part(folder / "unet" / PART_FILE, system.unet.state_dict())
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": prediction}))
    width = system.prompt.shape[1]
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 77, "vocab_size": 49408}
    config = CLIPTextConfig(hidden_size=width, intermediate_size=width, hidden_act="gelu", **sizes)
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")


def write_part(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: copy.deepcopy(tensor).contiguous() for name, tensor in tensors.items()}, path)
