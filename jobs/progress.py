"""Progress on stderr: a live line on a terminal, otherwise a line every 30 seconds, or lines of a log where asked."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from clusters.logs import form_asked, of_chunk
from jobs.errors import UsageError
from jobs.rhythm import Rhythm
from jobs.tally import Tally
from jobs.words import count, duration, plain, size_words
from pipelines.events import (
    Budgeted,
    Event,
    Noted,
    Planned,
    Preflighting,
    Receipt,
    Sealed,
    Sealing,
    Started,
    failed_words,
)

_LOG = logging.getLogger(__name__)

# Below these widths a bar, then the speed, would be cut off.
_BAR_WIDTH, _SPEED_WIDTH = 90, 60


class Watch:
    """A listener that tells what happens. `tally` has the sums, also when it is quiet."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False, what: str = "archiving") -> None:
        self.tally = Tally()
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet, self._what = quiet, what
        self._to_log = _is_for_a_log()
        live = self._console.is_terminal and not quiet and not self._to_log
        self._live = _live(self._console) if live else None
        self._task: TaskID | None = None
        self._rhythm = Rhythm()
        self.also: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end()

    def __call__(self, event: Event) -> None:
        self.also()
        self.tally.add(event)
        if self._quiet:
            return
        match event:
            case Planned():
                self._planned(event)
            case Started():
                self._started(event)
            case Noted():
                self.say(event.line)
            case Preflighting():
                self.say(_preflight_words(event))
            case Receipt():
                self._log_failures(event)
                self._moved()
            case Sealing():
                self.end()
                self.say("Sealing: merging what is done into packs and a catalog")
            case Budgeted() | Sealed():
                pass

    def say(self, line: str) -> None:
        """Print a line above the live one, whatever it holds, unwrapped; or log it."""
        if self._quiet:
            return
        if self._to_log:
            _LOG.info("%s", plain(line))
        else:
            self._console.print(plain(line), markup=False, highlight=False, soft_wrap=True)

    def stopping(self) -> None:
        """Say that the run is being stopped. Gives the terminal back first: the next signal ends at once."""
        self.end()
        self.say("Stopping; Ctrl-C again ends at once, which loses nothing that is done either")

    def end(self) -> None:
        """Leave the live line as it stands."""
        if self._live:
            self._live.stop()

    def _planned(self, event: Planned) -> None:
        plan = event.plan
        if not event.found_unfinished:
            verb = "Trying again" if plan.kind == "retry" else "Planned"
            extent = f"{count(plan.num_images, 'image')}, {size_words(plan.num_bytes)}"
            self.say(f"{verb}: {extent}, in {count(plan.num_chunks, 'chunk')}")
        for note in plan.notes:
            self.say(f"Note: {note}")

    def _started(self, event: Started) -> None:
        whole = event.num_images + event.num_done
        plan = self.tally.plan
        if plan and plan.generation == self.tally.taken_up:
            self.say(f"Taking up what was begun: {event.num_done:,} of {count(whole, 'image')} are done")
        if not event.num_images:
            return
        if self._live:
            self._task = self._live.add_task(self._what, total=whole, completed=event.num_done, tally=self.tally)
            self._live.start()
        else:
            self.say("Starting")

    def _log_failures(self, receipt: Receipt) -> None:
        if self._to_log and receipt.failures:
            with of_chunk(receipt.name):
                _LOG.warning("of %s %s", count(receipt.num_images, "image"), failed_words(receipt))

    def _moved(self) -> None:
        tally = self.tally
        if self._live and self._task is not None:
            self._live.update(self._task, completed=tally.num_done)
        elif self._rhythm.is_time() or tally.num_done == tally.num_images:
            self.say(f"{tally.num_done:,} of {count(tally.num_images, 'image')}{_speed(tally)}{_failed(tally)}")


def _is_for_a_log() -> bool:
    try:
        return form_asked() is not None
    except ValueError as error:
        raise UsageError(str(error)) from error


def _live(console: Console) -> Progress:
    columns: list[ProgressColumn] = [TextColumn("{task.description}", style="bold")]
    if console.width >= _BAR_WIDTH:
        columns.append(BarColumn(bar_width=24, complete_style="green", finished_style="green"))
    columns.append(_TallyColumn(speed=console.width >= _SPEED_WIDTH))
    return Progress(*columns, console=console, refresh_per_second=4, transient=False)


class _TallyColumn(ProgressColumn):
    """Images, speed, time left, failures."""

    def __init__(self, *, speed: bool) -> None:
        super().__init__()
        self._with_speed = speed

    def render(self, task: Task) -> Text:
        tally: Tally = task.fields["tally"]
        return Text(
            f"{tally.num_done:,}/{tally.num_images:,} images{_live_rest(tally, self._with_speed)}", overflow="ellipsis"
        )


def _live_rest(tally: Tally, speed: bool) -> str:
    if not tally.num_receipts:
        return "  starting"
    return f"{_speed(tally, speed)}{_failed(tally)}"


def _preflight_words(event: Preflighting) -> str:
    images, side = count(event.num_images, "image"), event.most_side
    return (
        f"Preflight: {images}, cut to at most {side}x{side} pixels, regrown here and compared with bicubic: "
        f"about {duration(event.seconds)} on {event.device}; --no-preflight leaves it out"
    )


def _speed(tally: Tally, speed: bool = True) -> str:
    parts = []
    if speed and tally.pixels_per_second:
        parts.append(f"{tally.pixels_per_second / 1e6:,.1f} MP/s")
    if tally.seconds_left is not None and tally.num_done < tally.num_images:
        parts.append(f"{duration(tally.seconds_left)} left")
    return "".join(f"  {part}" for part in parts)


def _failed(tally: Tally) -> str:
    return f"  {tally.num_failed:,} failed" if tally.num_failed else ""
