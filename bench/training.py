"""Small networks trained for some minutes on photographs: enough to reconstruct them, so that seams can be judged."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor

    from bench.seams import Settings
    from ops.rescalers.tadm import Tadm

RATE = 1e-2


def small_system(seed: int) -> "Tadm":
    """Return the small TADM at 16x in float32, its tensors drawn from a seed."""
    import torch  # noqa: PLC0415  the base install has none

    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.rescalers.loading import placed  # noqa: PLC0415  it imports torch

    config: Any = codec_from({"name": "tadm", "scale": 16, "size": "small", "precision": "float32"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast("Tadm", placed(config.network(), "cpu"))


def train(system: "Tadm", photographs: "Sequence[Tensor]", settings: "Settings") -> float:
    """Train the autoencoder to return crops, and the denoising to remove noise from their latents; return seconds.

    Plain L1 on both, the one's gradients apart from the other's, for as many steps as the settings say; seeded.
    """
    import torch  # noqa: PLC0415

    begun, chance = time.monotonic(), torch.Generator().manual_seed(0)
    system.requires_grad_(True)
    optimiser = torch.optim.Adam(system.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=settings.steps + 1)
    for _ in range(settings.steps):
        optimiser.zero_grad()
        _loss(system, _crops(photographs, settings, chance), settings.noise, chance).backward()
        optimiser.step()
        schedule.step()
    system.requires_grad_(False)
    return time.monotonic() - begun


def _loss(system: "Tadm", x: "Tensor", noise: float, chance: Any) -> "Tensor":
    """Return the autoencoder's loss plus the denoising's, which is in deviations of latents."""
    import torch  # noqa: PLC0415
    from torch.nn.functional import l1_loss  # noqa: PLC0415

    from ops.networks.stable_diffusion import SCALING  # noqa: PLC0415

    vae: Any = system.vae
    z = vae.encode(x).latent_dist.mode()
    c = z.detach() * SCALING
    noisy = c + torch.randn(c.shape, generator=chance) * noise * c.std()
    clean, _ = system.denoise(noisy, x)
    return l1_loss(vae.decode(z).sample, x) + l1_loss(clean, c) / c.std()


def _crops(photographs: "Sequence[Tensor]", settings: "Settings", chance: Any) -> "Tensor":
    import torch  # noqa: PLC0415

    def below(end: int) -> int:
        return int(torch.randint(end, (), generator=chance))

    crops, side = [], settings.crop
    for _ in range(settings.batch):
        x = photographs[below(len(photographs))]
        top, left = below(x.shape[2] - side + 1), below(x.shape[3] - side + 1)
        crops.append(x[:, :, top : top + side, left : left + side])
    return torch.cat(crops)
