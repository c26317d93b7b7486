"""What a pipeline tells its driver while it runs."""

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from clusters.budget import Budget
from ops.archive.plan import Plan
from ops.archive.seals import Seal


class Planned(Struct, frozen=True):
    """The plan stands. `found_unfinished` says that it was there, from a run that did not come to its end."""

    plan: Plan
    found_unfinished: bool


class Started(Struct, frozen=True):
    """Work begins: images and bytes that are to be done, and images that are done already."""

    num_images: int
    num_bytes: int
    num_done: int


UNTRAINED = "UNTRAINED weights: what they regrow is noise"


class Noted(Struct, frozen=True):
    """Something that a user should know, in a line."""

    line: str


class Preflighting(Struct, frozen=True, kw_only=True):
    """Images are about to be regrown in the driver, before all work; `seconds`: about how long, by the codec's pace."""

    num_images: int
    most_side: int
    seconds: float
    device: str


class Budgeted(Struct, frozen=True):
    """Ray is there: what the stages take of this machine or cluster."""

    budget: Budget


class Receipt(Struct, frozen=True, kw_only=True):
    """One chunk is done. `seconds` are those of the actor alone.

    `failures` are codes, one for each image that failed; `messages` what is to be told of them, where no row keeps it.
    """

    name: str
    num_images: int
    num_good: int
    pixels: int
    source_bytes: int
    thumbnail_bytes: int
    seconds: float
    num_skipped: int = 0
    picture_bytes: int = 0
    failures: list[str] = []
    messages: list[str] = []


def failed_words(receipt: Receipt) -> str:
    """Return such as `3 failed (corrupt 2, empty 1)`."""
    codes = Counter(receipt.failures).most_common()
    return f"{len(receipt.failures):,} failed ({', '.join(f'{code} {number:,}' for code, number in codes)})"


class Sealing(Struct, frozen=True):
    """All parts are there; packs and catalog are being written."""


class Sealed(Struct, frozen=True):
    """The archive stands."""

    seal: Seal


Event = Planned | Started | Noted | Preflighting | Budgeted | Receipt | Sealing | Sealed
Listener = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """Listen to nothing."""
