"""Sizes that the autoencoder and the U-Net ask for. No torch here: codecs' settings need them, too."""

FACTOR = 8
"""Pixels per latent and side, of Stable Diffusion's autoencoder."""

CHANNELS = 4
"""Channels of a latent."""

BLOCK = 64
"""Pixels: eight for a latent, and eight latents for the three halvings of Stable Diffusion's U-Net."""


def whole(side: int, block: int = BLOCK) -> int:
    """Return the next multiple of a block."""
    return -(-side // block) * block
