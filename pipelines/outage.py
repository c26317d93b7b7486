"""A source that is gone: told while it happens, not after every image of it has become a failure."""

from ops.archive.layout import ArchiveError
from ops.evaluation.scores import ScoreStatus
from ops.images import FailureCode
from pipelines.events import Receipt

# Deleted albums are some chunks in a row; an unmounted disk or an expired key is all the rest.
CHUNKS = 20
IMAGES = 500
_GONE = {FailureCode.VANISHED, FailureCode.UNREADABLE, ScoreStatus.NO_REFERENCE, ScoreStatus.REFERENCE_UNREADABLE}


class Outage:
    """Counts chunks, one after another, of which no image could be fetched."""

    def __init__(self, source: str, remedy: str = "after it `regrow retry` for these") -> None:
        self._source, self._remedy = source, remedy
        self._chunks = self._images = 0

    def watch(self, receipt: Receipt) -> None:
        """Look at one receipt. Raises ArchiveError where nothing has come from the source for too long."""
        gone = receipt.num_images > 0 and len(receipt.failures) == receipt.num_images and {*receipt.failures} <= _GONE
        self._chunks, self._images = (self._chunks + 1, self._images + receipt.num_images) if gone else (0, 0)
        if self._chunks >= CHUNKS and self._images >= IMAGES:
            raise ArchiveError(
                f"none of the last {self._images:,} images could be fetched from {self._source}: is it mounted, are "
                f"the credentials valid? Then run the same command again; {self._remedy}"
            )
