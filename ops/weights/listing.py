"""What there is of each file of weights, for people."""

from msgspec import Struct

from ops.stores import is_there, open_store
from ops.weights.cache import place
from ops.weights.files import WeightFile
from ops.weights.known import KNOWN

SHA256_DIGITS = 64


class Listed(Struct, frozen=True):
    """One file of weights; `place` is empty where it is missing, and `remedy` then says how to get it."""

    name: str
    what: str
    licence: str
    origin: str
    file: str
    sha256: str
    place: str
    remedy: str

    def facts(self) -> list[tuple[str, str]]:
        """Return names and values, for people."""
        where = ("place", self.place) if self.place else ("missing", self.remedy)
        digest = self.sha256 if len(self.sha256) == SHA256_DIGITS else f"{self.sha256}..."
        return [
            ("what", self.what),
            ("file", self.file),
            ("sha256", digest),
            ("licence", self.licence),
            ("origin", self.origin),
            where,
        ]


def listed() -> list[Listed]:
    """Return what is known of every file. Only looks whether it is there: `load_tensors` checks what it holds."""
    return [_listed(known) for known in KNOWN.values()]


def _listed(known: WeightFile) -> Listed:
    url = place(known.name)
    here = is_there(open_store(url), url)
    return Listed(
        known.name,
        known.what,
        known.licence,
        known.origin,
        known.file,
        known.sha256,
        url if here else "",
        "" if here else known.remedy,
    )
