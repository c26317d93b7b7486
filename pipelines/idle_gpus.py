"""A run that would take days on the processor, beside a GPU that torch cannot use, is refused before it starts."""

import os
from collections.abc import Iterable

from ops.archive.layout import ArchiveError
from ops.codecs.base import CodecConfig
from ops.codecs.learned import LearnedConfig
from ops.here import IDLE_GPU, has_cuda


def refuse_idle_gpus(codecs: Iterable[CodecConfig], address: str | None, num_gpus: int) -> None:
    """Raise ArchiveError where a run on this machine has full networks, and GPUs that torch cannot use.

    Of a cluster (an `address`, or RAY_ADDRESS) this machine cannot tell.
    """
    if not num_gpus or (address or os.environ.get("RAY_ADDRESS") or "local") != "local":
        return
    full = [one for one in codecs if isinstance(one, LearnedConfig) and one.size == "full"]
    if full and not has_cuda():
        raise ArchiveError(f"{full[0].spelling()} would take days on the processor, and {IDLE_GPU}")
