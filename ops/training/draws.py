"""Chance that is a pure function of what it is for: a seed, counters such as stage and step, and a purpose."""

import hashlib
import json
from operator import index

import numpy as np
from numpy.typing import NDArray


def generator(seed: int, *counters: int, purpose: str) -> np.random.Generator:
    """Return a generator whose draws depend on these arguments alone: no state goes from one step to the next.

    Philox 4x64-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011), whose key and first counter
    are the BLAKE2b hash of the arguments: the same on every machine, and unrelated for any two lists of arguments.
    """
    # As JSON, (1, 23) and (12, 3) stay apart, and a purpose may hold anything. index() takes numpy's integers, too.
    words = json.dumps([purpose, index(seed), *map(index, counters)])
    hashed = np.frombuffer(hashlib.blake2b(words.encode(), digest_size=48).digest(), "<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=hashed[:2], counter=hashed[2:]))


def normal(shape: tuple[int, ...], seed: int, *counters: int, purpose: str) -> NDArray[np.float32]:
    """Return float32 numbers of mean 0 and variance 1, drawn as `generator` says."""
    return generator(seed, *counters, purpose=purpose).standard_normal(shape, np.float32)


def uniform(shape: tuple[int, ...], seed: int, *counters: int, purpose: str) -> NDArray[np.float32]:
    """Return float32 numbers from 0 to below 1, drawn as `generator` says."""
    return generator(seed, *counters, purpose=purpose).random(shape, np.float32)
