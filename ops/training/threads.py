"""How many threads torch takes for one operation, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def with_threads(number: int | None) -> Iterator[None]:
    """Have torch take this many threads within the block; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
