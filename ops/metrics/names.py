"""Which metrics there are."""

from typing import TypeAlias

from ops.metrics.clipiqa import ClipIqaConfig
from ops.metrics.dists import DistsConfig
from ops.metrics.fid import FidConfig
from ops.metrics.kid import KidConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.ms_ssim import MsSsimConfig
from ops.metrics.musiq import MusiqConfig
from ops.metrics.psnr import PsnrConfig
from ops.metrics.ssim import SsimConfig

AnyMetric: TypeAlias = (
    PsnrConfig
    | SsimConfig
    | MsSsimConfig
    | LpipsConfig
    | DistsConfig
    | FidConfig
    | KidConfig
    | MusiqConfig
    | ClipIqaConfig
)
