"""A seal named beyond doubt, so that a later run knows what an earlier one has seen of an archive."""

import hashlib

from msgspec import Struct

from ops.archive.layout import Location


class SealName(Struct, frozen=True, kw_only=True):
    """A seal's number, which is that of its generation, and the sha256, in hex, of the seal as it is stored.

    Numbers alone begin anew where an archive is made once more in the place of another one.
    """

    number: int
    sha256: str


def name_of_seal(location: Location, number: int) -> SealName:
    """Return the name of an archive's seal. Raises FileNotFoundError where there is none of this number."""
    return SealName(number=number, sha256=hashlib.sha256(location.store.read(location.seal(number))).hexdigest())


def stands(location: Location, name: SealName) -> bool:
    """Say whether an archive still has a seal: what came later was then added to what that seal had."""
    try:
        return name_of_seal(location, name.number) == name
    except FileNotFoundError:
        return False
