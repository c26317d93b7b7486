"""The layers of Stable Diffusion's autoencoder in their order, for whoever runs them otherwise than diffusers does."""

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torch import nn

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

X = TypeVar("X")


class Layers(Protocol[X]):
    """How layers are run over x: a tensor, or tiles of one. What is passed in may be overwritten."""

    def conv(self, x: X, conv: nn.Conv2d) -> X:
        """Return a convolution that keeps the size."""
        ...

    def normed(self, x: X, norm: nn.GroupNorm, conv: nn.Conv2d) -> X:
        """Return a convolution of SiLU of the normalised x."""
        ...

    def added(self, x: X, h: X, norm: nn.GroupNorm, conv: nn.Conv2d) -> X:
        """Return x plus `normed` of h."""
        ...

    def halved(self, x: X, conv: nn.Conv2d) -> X:
        """Return a convolution with stride 2 of x, with a row of zeros below and a column to the right."""
        ...

    def doubled(self, x: X, conv: nn.Conv2d) -> X:
        """Return a convolution of x at twice its size, each value four times."""
        ...

    def attended(self, x: X, attention: nn.Module) -> X:
        """Return x after attention between all its positions."""
        ...


def encoded(layers: Layers[X], vae: "AutoencoderKL", x: X) -> X:
    """Return moments: 8 channels of mean and logarithm of the variance, at an eighth of the sides."""
    encoder: Any = vae.encoder
    x = layers.conv(x, encoder.conv_in)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            x = _resnet(layers, resnet, x)
        for sampler in block.downsamplers or ():
            x = layers.halved(x, sampler.conv)
    x = _middle(layers, encoder.mid_block, x)
    x = layers.normed(x, encoder.conv_norm_out, encoder.conv_out)
    return layers.conv(x, vae.quant_conv)  # pyright: ignore[reportArgumentType]


def decoded(layers: Layers[X], vae: "AutoencoderKL", x: X) -> X:
    """Return an image of unscaled latents."""
    decoder: Any = vae.decoder
    x = layers.conv(x, vae.post_quant_conv)  # pyright: ignore[reportArgumentType]
    x = layers.conv(x, decoder.conv_in)
    x = _middle(layers, decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = _resnet(layers, resnet, x)
        for sampler in block.upsamplers or ():
            x = layers.doubled(x, sampler.conv)
    return layers.normed(x, decoder.conv_norm_out, decoder.conv_out)


def _middle(layers: Layers[X], block: Any, x: X) -> X:
    first, *rest = block.resnets
    x = _resnet(layers, first, x)
    for attention, resnet in zip(block.attentions, rest, strict=True):
        x = _resnet(layers, resnet, layers.attended(x, attention))
    return x


def _resnet(layers: Layers[X], resnet: Any, x: X) -> X:
    h = layers.normed(x, resnet.norm1, resnet.conv1)
    if resnet.conv_shortcut is not None:
        x = layers.conv(x, resnet.conv_shortcut)
    return layers.added(x, h, resnet.norm2, resnet.conv2)
