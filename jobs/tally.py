"""What events add up to: images, megapixels per second, time left, failures."""

from collections import Counter
from time import monotonic

from msgspec import Struct, field

from clusters.budget import Budget
from ops.archive.plan import Plan
from ops.archive.seals import Seal
from pipelines.events import Budgeted, Event, Planned, Receipt, Sealed, Started


class Tally(Struct):
    """Sums over one run, which may finish one plan and go on with another.

    `num_images` and `num_done` are of the plan at hand, with what an earlier run did of it; sums are of the whole run.
    """

    plan: Plan | None = None
    # The generation that earlier runs began and this one finishes.
    taken_up: int | None = None
    seal: Seal | None = None
    num_images: int = 0
    num_done: int = 0
    num_failed: int = 0
    num_receipts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    problems: list[str] = []
    pixels: int = 0
    source_bytes: int = 0
    thumbnail_bytes: int = 0
    picture_bytes: int = 0
    budget: Budget | None = None
    started_at: float = 0.0
    # Ray takes some seconds to start: speed is counted from the first receipt on, without what it brought.
    first_at: float = 0.0
    first_images: int = 0
    first_pixels: int = 0
    last_at: float = 0.0

    def add(self, event: Event) -> None:
        """Add one event."""
        match event:
            case Planned(plan=plan, found_unfinished=found):
                self.plan = plan
                self.taken_up = plan.generation if found else self.taken_up
                self.problems += plan.problems
            case Started(num_images=num_images, num_done=num_done):
                self.num_images, self.num_done = num_images + num_done, num_done
                self.started_at = monotonic()
                self.num_receipts = 0  # speed and time left are of the plan at hand, too
            case Budgeted(budget=budget):
                self.budget = budget
            case Receipt():
                self._add_receipt(event)
            case Sealed(seal=seal):
                self.seal = seal
                if self.plan is None:  # only to be sealed: all of it was done before
                    self.taken_up = seal.number
            case _:
                pass

    def _add_receipt(self, receipt: Receipt) -> None:
        self.num_receipts += 1
        self.num_done += receipt.num_images
        self.num_failed += len(receipt.failures)
        self.failures.update(receipt.failures)
        self.pixels += receipt.pixels
        self.source_bytes += receipt.source_bytes
        self.thumbnail_bytes += receipt.thumbnail_bytes
        self.picture_bytes += receipt.picture_bytes
        self.last_at = monotonic()
        if self.num_receipts == 1:
            self.first_at, self.first_images, self.first_pixels = self.last_at, self.num_done, self.pixels

    @property
    def pixels_per_second(self) -> float | None:
        """Speed since the first receipt; nothing before the second."""
        seconds = self.last_at - self.first_at
        return (self.pixels - self.first_pixels) / seconds if self.num_receipts > 1 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time left at the speed so far, in images; nothing before the second receipt."""
        done, seconds = self.num_done - self.first_images, self.last_at - self.first_at
        if self.num_receipts < 2 or done <= 0:
            return None
        return (self.num_images - self.num_done) * seconds / done
