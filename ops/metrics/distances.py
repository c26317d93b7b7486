"""What distances between two sets of patches have in common: whose features, which patches, how they are called."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from ops.codecs.base import Runtime
from ops.metrics.base import Features, Inapplicable, SetMetric, SetMetricConfig
from ops.weights import load_tensors, weights_digest

Network = Literal["inception", "vgg16"]

# VGG16's are those of LPIPS, whose backbone is the same.
WEIGHTS: dict[Network, str] = {"inception": "fid-inception", "vgg16": "lpips-vgg"}
EXTRACTORS: dict[Network, str] = {"inception": "inception-2015", "vgg16": "vgg16-relu5_3"}
# Four times VGG16 halves a side before its last convolutions.
SMALLEST_PATCH = 16
USUAL_PATCH = 256


class DistanceConfig(SetMetricConfig, frozen=True, kw_only=True):
    """Settings of a distance between sets. Only over Inception-v3 does it bear its usual name."""

    higher_is_better: ClassVar[bool] = False
    # What it is called over Inception-v3, and over any other network.
    initials: ClassVar[tuple[str, str]]

    network: Network = "inception"
    patch: Annotated[int, Meta(ge=0)] = USUAL_PATCH

    def __post_init__(self) -> None:
        if 0 < self.patch < SMALLEST_PATCH:
            raise ValueError(f"patch {self.patch} is too small: write 0 for whole images, or at least {SMALLEST_PATCH}")

    @property
    def verified(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # here it depends on a field
        """Whether nothing is left to check: over VGG16 it is defined here, and the tensors are proven by DISTS.

        Inception-v3 was checked with random tensors only, never with the official ones against an official result.
        """
        return self.network == "vgg16"

    @property
    def smallest_side(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  # here it depends on fields
        """Return below how many pixels a side an image has no patches, or cannot be one."""
        return self.patch or (SMALLEST_PATCH if self.network == "vgg16" else 1)

    @property
    def extractor(self) -> str:
        """Whose features are compared: metrics with equal ones, of equal patches, share them."""
        return EXTRACTORS[self.network]

    @property
    def column(self) -> str:
        """Return such as `fid`, `kid_whole` or `fd_vgg16`."""
        usual, other = (initials.lower() for initials in self.initials)
        name = usual if self.network == "inception" else f"{other}_{self.network}"
        return name + {0: "_whole", USUAL_PATCH: ""}.get(self.patch, f"_{self.patch}")

    @property
    def heading(self) -> str:
        """Return such as `FID/256`, `KID (whole images)` or `FD (VGG16)`."""
        usual, other = self.initials
        if self.network == "inception":
            return f"{usual}/{self.patch}" if self.patch else f"{usual} (whole images)"
        patches = {0: ", whole images", USUAL_PATCH: ""}.get(self.patch, f", {self.patch}")
        return f"{other} ({self.network.upper()}{patches})"

    def weights_digest(self) -> str:
        """Return the digest of the network's tensors. Raises Unavailable where it is not known without them."""
        return weights_digest(WEIGHTS[self.network])

    def load(self, runtime: Runtime) -> SetMetric:
        """Return the network's features, one patch in each forward pass. Raises Unavailable without its weights."""
        name = WEIGHTS[self.network]
        tensors = load_tensors(name)
        from ops.networks.features import load_inception, load_vgg16_means  # noqa: PLC0415  they import torch

        if self.network == "inception":
            return load_inception(tensors, name, runtime.device)
        return load_vgg16_means(tensors, runtime.device)


def check_features(references: Features, reconstructions: Features) -> None:
    """Raise Inapplicable unless either side has two features or more, all finite; ValueError if their widths differ."""
    if min(len(references), len(reconstructions)) < 2:
        counts = f"{len(references)} of references and {len(reconstructions)} of reconstructions"
        raise Inapplicable(f"a distance of sets needs at least 2 patches on either side; there are {counts}")
    if references.ndim != 2 or references.shape[1:] != reconstructions.shape[1:]:
        raise ValueError(f"features {references.shape} and {reconstructions.shape} must be rows of one width")
    if not (np.isfinite(references).all() and np.isfinite(reconstructions).all()):
        raise Inapplicable("some features are not finite numbers; the network or an image is broken")
