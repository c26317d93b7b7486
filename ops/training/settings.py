"""What a training run is made of: networks, photographs, and stages one after the other."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

Precision: TypeAlias = Literal["float32", "bfloat16"]
Objective: TypeAlias = Literal["autoencoder", "denoiser", "rescaling", "generation", "joint", "faitheir"]
Fraction: TypeAlias = Annotated[float, Meta(gt=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]

# Every term that a stage may weigh, and what it compares.
IMAGE_TERMS = ("l1", "mse", "peaks", "lpips_alex", "lpips_vgg", "dists")
LATENT_TERMS = ("latent_l1", "latent_mse", "forward_l1", "forward_mse", "noise_mse", "kl", "timestep")
THUMBNAIL_TERMS = ("guidance_l1", "guidance_mse")
TERMS = (*IMAGE_TERMS, *LATENT_TERMS, *THUMBNAIL_TERMS)


class CropSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a crop is cut: `side` pixels square, of a photograph that was shrunk to a share of its size between `scales`.

    A side is a multiple of 64. `flips` mirrors left to right, `turns` by right angles; each at random.
    """

    side: Annotated[int, Meta(ge=64, le=2048, multiple_of=64)] = 192
    scales: tuple[Fraction, Fraction] = (1.0, 1.0)
    flips: bool = True
    turns: bool = False


class Photographs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which photographs are trained on: any source that the readers know.

    `group` is a regular expression; the part of a key that its first group matches is the photograph's group, and
    groups are drawn from evenly, then photographs of a group. Without it all photographs are one group. A photograph
    with a side below the crop's is left out, and told. `held_out` are keys that no step sees: validation looks at
    them. `cache_megapixels` of decoded pixels stay in memory.
    """

    sources: tuple[str, ...]
    group: str = ""
    held_out: tuple[str, ...] = ()
    cache_megapixels: Count = 400


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A learning rate: it rises over `warmup` steps, then is halved every `halve_every`, or falls along a cosine."""

    start: Annotated[float, Meta(gt=0)] = 2e-4
    warmup: Annotated[int, Meta(ge=0)] = 0
    halve_every: Count | None = None
    cosine_to: Annotated[float, Meta(ge=0)] | None = None


class Optimiser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Adam (`weight_decay` 0), or AdamW, and the norm to which gradients are clipped."""

    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    clip: Annotated[float, Meta(gt=0)] | None = 1.0


class Lora(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranks of the low-rank adapters that are trained in place of the networks that they adapt.

    `vae` is that of the half of the autoencoder that the stage trains, TADM's decoder or FaithEIR's encoder; without
    it the autoencoder stays as it is. Both networks are those of Stable Diffusion.
    """

    unet: Count = 48
    vae: Count | None = 16


class Stage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage: what is trained (`objective`), for how many steps, and what is weighed in its loss.

    `losses` maps terms (TERMS) to weights. `batch` crops make a step, in `accumulate` equal portions. The losses on
    VGG16 cost ten times what a small codec does: `vgg_images` is on how many crops of a batch they are taken, and
    `vgg_side` on how large a part of each. By up to `shift` pixels, at random, is moved what other perceptual losses
    see, and these where they have no `vgg_side`, so that none rewards a texture for being locked to its own grid; what
    `peaks` weighs takes away the rest. `average` is by how much the running average of the weights, which is what is
    kept, holds on to its past at each step; 0 keeps the weights themselves.
    """

    objective: Objective
    steps: Count
    batch: Count = 8
    accumulate: Count = 1
    crop: CropSettings = CropSettings()
    losses: dict[str, float]
    rate: Rate = Rate()
    optimiser: Optimiser = Optimiser()
    lora: Lora | None = None
    precision: Precision = "float32"
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    shift: Annotated[int, Meta(ge=0, le=64)] = 16
    vgg_images: Count | None = None
    vgg_side: Annotated[int, Meta(ge=64, multiple_of=32)] | None = None

    def __post_init__(self) -> None:
        for term in self.losses:
            if term not in TERMS:
                raise ValueError(f"there is no loss {term!r}: use {', '.join(TERMS)}")
        if not any(self.losses.values()):
            raise ValueError(f"stage {self.objective} weighs no loss: give one of {', '.join(TERMS)} a weight above 0")
        if self.batch % self.accumulate:
            raise ValueError(f"a batch of {self.batch} does not part into {self.accumulate}: use one that divides it")
        if self.vgg_images and self.batch % self.vgg_images:
            raise ValueError(
                f"vgg_images {self.vgg_images} of a batch of {self.batch} do not lie evenly: use one that divides it"
            )


class Rhythm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every how many steps something is done; a checkpoint is written at the end of a stage, too."""

    curve: Count = 20
    validate: Count = 1000
    checkpoint: Count = 500


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: the networks of a codec (its settings, as a job file says them), trained over photographs in stages.

    `start_from` is a file of a codec's weights to begin with; without it torch initialises the networks by the seed.
    `start_parts` says for parts (as the names of tensors begin: `vae`, `unet`, `rescaling`) where theirs come from,
    whatever is in that file: another codec's file, or for `unet`, `vae` and `prompt` a base model's place, as
    `ops.weights.base_places` has it. A U-Net brings its prompt along, unless that is named, too.
    `licence` is that of the weights, `licences` are those of the photographs, by their groups, for the model card.
    """

    codec: dict[str, Any]
    photographs: Photographs
    stages: tuple[Stage, ...]
    start_from: str | None = None
    start_parts: dict[str, str] = {}
    seed: int = 3042
    rhythm: Rhythm = Rhythm()
    licence: str = "Apache-2.0"
    licences: dict[str, str] = {}
    redistribution: bool = True
