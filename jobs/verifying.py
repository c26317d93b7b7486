"""The end of verifying: what was read, and what is not as it was sealed."""

from msgspec import Struct

from jobs.words import count, percent, size_words
from ops.archive.verifying import Damage
from pipelines.verify import Verified

_MESSAGES = 10


class VerifyResult(Struct, frozen=True, kw_only=True):
    """What came of verifying, for programs. `images` are those of the packs that were read, older versions included."""

    archive: str
    seal: int
    intact: bool
    packs: int
    packs_read: int
    images: int
    bytes_read: int
    damages: list[Damage]


def verify_result(found: Verified) -> VerifyResult:
    """Return the result of verifying."""
    return VerifyResult(
        archive=found.archive,
        seal=found.seal.number,
        intact=not found.damages,
        packs=found.num_packs,
        packs_read=found.num_checked,
        images=found.num_images,
        bytes_read=found.num_bytes,
        damages=found.damages,
    )


def heading(result: VerifyResult) -> str:
    """Return it in a line. It says what was found, and nothing about what may be deleted."""
    if not result.intact:
        return f"{result.archive}: damaged"
    if result.packs_read < result.packs:
        return f"{result.archive}: intact as far as it was read: every thumbnail there as written"
    return f"{result.archive}: intact: every thumbnail as written"


def verify_lines(result: VerifyResult) -> list[tuple[str, str]]:
    """Return the result for people."""
    share = f"{count(result.packs_read, 'pack')} of {result.packs:,} ({percent(result.packs_read, result.packs)})"
    lines = [
        ("read", f"{share}, {count(result.images, 'image')}, {size_words(result.bytes_read)}; seals, plans, catalog"),
        ("seal", f"{result.seal}"),
        *(("damaged", damage.words()) for damage in result.damages[:_MESSAGES]),
    ]
    more = len(result.damages) - _MESSAGES
    return [*lines, ("damaged", f"and {more:,} more")] if more > 0 else lines


def damaged_words(result: VerifyResult) -> str | None:
    """Return what is wrong, in a line; nothing where nothing is."""
    if result.intact:
        return None
    lost = sum(damage.images for damage in result.damages)
    suffer = f", and with that the thumbnails of {count(lost, 'image')}" if lost else ""
    return f"{count(len(result.damages), 'object')} of {result.archive} damaged{suffer}: {result.damages[0].words()}"
