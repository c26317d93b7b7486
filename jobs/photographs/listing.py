"""Which photographs `nano` was trained on: packages, the files in them, hashes, licences and authors."""

from pathlib import Path

import msgspec
from msgspec import Struct

TRAIN = Path(__file__).parent / "train.json"


class Photograph(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One photograph. `path` and `sha256` are the original's in its package, the rest is what becomes of it.

    `pixels` is the sha256 of the halved pixels before JPEG (uint8 RGB, row by row); `jpeg` that of the file which was
    trained on, where the encoder is the same.
    """

    name: str
    path: str
    sha256: str
    width: int
    height: int
    pixels: str
    jpeg: str
    licence: str
    author: str


class Package(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Debian package: `bytes` and `sha256` are those of its .deb; `terms` says where licences and authors stand."""

    package: str
    version: str
    bytes: int
    sha256: str
    terms: str
    photographs: tuple[Photograph, ...]

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


class Listing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them, with the release of Debian that the packages are of."""

    release: str
    packages: tuple[Package, ...]


def read_listing(path: Path = TRAIN) -> Listing:
    """Return the list that the project carries, or another one. Raises msgspec.ValidationError where it is none."""
    return msgspec.json.decode(path.read_bytes(), type=Listing)
