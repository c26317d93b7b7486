"""The learning rate at each step."""

import math

from ops.training.settings import Rate


def rate_at(rate: Rate, step: int, steps: int) -> float:
    """Return the learning rate of step `step`, from 0, of a stage of `steps`.

    Within the warm-up it is start (step + 1) / warmup. What follows is counted from the warm-up's end: `start` halved
    every `halve_every` steps, or half a cosine (Loshchilov and Hutter 2017, ICLR, equation 5, without restarts) which
    is at `cosine_to` at the stage's last step. Raises ValueError where both are given.
    """
    if rate.halve_every is not None and rate.cosine_to is not None:
        raise ValueError(
            f"a rate has halve_every {rate.halve_every} and cosine_to {rate.cosine_to}: leave one of the two out"
        )
    if step < rate.warmup:
        return rate.start * (step + 1) / rate.warmup
    if rate.halve_every is not None:
        return rate.start * 0.5 ** ((step - rate.warmup) // rate.halve_every)
    if rate.cosine_to is not None:
        return _cosine(rate.start, rate.cosine_to, step - rate.warmup, steps - 1 - rate.warmup)
    return rate.start


def _cosine(start: float, end: float, step: int, last: int) -> float:
    done = min(step / last, 1.0) if last > 0 else 1.0
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
