"""What listing a source found, and which names are images."""

from collections import Counter
from posixpath import splitext

from msgspec import Struct, field

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".heic", ".heif", ".hif", ".jxl"),
    }
)
"""Suffixes of the formats that can be decoded. Names only decide what is planned; bytes decide what it is."""

HIDDEN = "hidden"


class SourceError(Exception):
    """A source cannot be archived; the message says what was found instead, and the remedy."""


class ScanReport(Struct):
    """Counts of a listing, filled while its entries are taken.

    `skipped` counts by suffix ("" without one, "hidden" for names that begin with a dot); `problems` are pairs of URI
    and message: what could not be listed; `num_estimated` images whose size the source does not say.
    """

    num_images: int = 0
    num_bytes: int = 0
    num_estimated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    renamed: int = 0
    listed_twice: int = 0


def why_skipped(name: str) -> str | None:
    """Return what to count a name under that is no image's: its suffix or "hidden"; None for an image."""
    # Segments of members may be `.` and `..`; neither hides anything. Most names of millions have no such segment.
    if (name.startswith(".") or "/." in name) and any(
        segment.startswith(".") and segment.strip(".") for segment in name.split("/")
    ):
        return HIDDEN
    suffix = splitext(name)[1].lower()
    return None if suffix in IMAGE_SUFFIXES else suffix


def nothing_in(source: str, report: ScanReport) -> str:
    """Return in one line why nothing of a source can be archived, and what to do."""
    total = sum(report.skipped.values())
    kinds = ", ".join(f"{suffix or 'without suffix'} {number}" for suffix, number in report.skipped.most_common(6))
    problems = "; ".join(f"{uri}: {message}" for uri, message in report.problems[:2])
    if not total and not problems:
        return f"{source} is empty or does not exist: no object is there; check the spelling"
    found = f" {total} other files are there ({kinds}): --all-files tries them." if total else ""
    failed = f" {len(report.problems)} problems: {problems}." if problems else ""
    return f"{source} holds no image by its names.{found}{failed}"
