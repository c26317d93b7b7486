"""What a system of networks takes step by step: seconds, or arithmetic, or whatever else is read and only grows."""

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from ops.codecs.latent import LatentConfig
    from ops.rescalers.system import System

STEPS = ("VAE encode", "VAE decode", "U-Net", "rescaling")


@contextmanager
def steps_of(system: "System", read: Callable[[], float], *, once: bool = False) -> Iterator[Counter[str]]:
    """Yield what each step has taken so far by a reading such as `time.perf_counter`, while the block runs.

    The autoencoder has no module that is called as a whole: its layers are walked by functions, which are watched.
    `once`: what a step makes of shapes that it had before is taken over, with what it took, as suits counts.
    """
    from ops.rescalers import growing  # noqa: PLC0415  it imports torch
    from ops.rescalers import system as shrinking  # noqa: PLC0415

    places = [
        ("VAE encode", shrinking, "encode_moments"),
        ("VAE decode", growing, "decode"),
        ("rescaling", system, "shrink"),
        ("rescaling", system, "grow"),
        *([("U-Net", system.unet, "forward")] if system.denoises else []),
    ]
    taken: Counter[str] = Counter()
    with ExitStack() as stack:
        for name, owner, attribute in places:
            watched = _watched(name, getattr(owner, attribute), read, taken, once)
            stack.enter_context(patch.object(owner, attribute, watched))
        yield taken


def _watched(name: str, function: Any, read: Callable[[], float], taken: Counter[str], once: bool) -> Any:
    before: dict[str, tuple[Any, float]] = {}

    def run(*arguments: Any, **named: Any) -> Any:
        shapes = str([getattr(one, "shape", None) for one in arguments])
        if not (once and shapes in before):
            begun = read()
            before[shapes] = function(*arguments, **named), read() - begun
        made, amount = before[shapes] if once else before.pop(shapes)
        taken[name] += amount  # type: ignore[assignment]  (counts may be fractions)
        return made

    return run


def arithmetic(config: "LatentConfig", width: int, height: int) -> dict[str, dict[str, float]]:
    """Return floating point operations by step, `down` and `up`, of an image: counted, on shapes alone.

    A multiplication and an addition are two. Normalisations and activations are not counted, nor are prediction of
    time-steps and learned scheduler, which take less than a hundredth.
    """
    import torch  # noqa: PLC0415  the base install has none
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    with torch.device("meta"):
        system = config.network().eval()
    factor = config.factor
    x = torch.empty((1, 3, height, width), device="meta")
    y = torch.empty((1, 3, -(-height // factor), -(-width // factor)), device="meta")
    counted: dict[str, dict[str, float]] = {}
    for name, run in (("down", lambda: system.shrunk(x)), ("up", lambda: system.up(y, height, width))):
        with FlopCounterMode(display=False) as counter, steps_of(system, counter.get_total_flops, once=True) as taken:
            run()
        counted[name] = dict(taken)
    return counted


def resident_bytes() -> int:
    """Return the resident memory of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def forget_peak() -> None:
    """Let the peak of this process's memory start anew from what is in use now."""
    # What was freed may still be held: it would be taken again without a rise.
    getattr(ctypes.CDLL(None), "malloc_trim", bool)(0)
    Path("/proc/self/clear_refs").write_text("5")
