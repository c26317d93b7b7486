"""What a training run shows while it goes on, and how it is asked to stop."""

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from jobs.rhythm import Rhythm
from jobs.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.training.run import Progress as Told

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Whether Ctrl-C or SIGTERM asked to stop. The first one is noted, and the step in hand is finished.

    Signals are noted from `arm` to the end of the block; before, they end at once, since nothing would be lost. So
    does the second one.
    """

    def __init__(self, announce: "Callable[[], None]") -> None:
        self.number = 0
        self._announce = announce
        self._before: dict[int, Any] = {}

    def is_asked(self) -> bool:
        """Say whether a signal came."""
        return bool(self.number)

    def is_asked_beside_ray(self) -> bool:
        """Say it where Ray is in this process: its session ends the process at SIGTERM, unless that is taken back."""
        self.arm()
        return self.is_asked()

    def arm(self) -> None:
        """Note signals from now on; again after Ray has taken one of them."""
        if self.number or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            self._before.setdefault(number, signal.signal(number, self._note))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        self._announce()


class TrainingWatch:
    """Tells of progress: a live line on a terminal, otherwise a line every 30 seconds, and one behind each stage."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.asked = Asked(self._stopping)
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._live = _live(self._console) if self._console.is_terminal and not quiet else None
        self._tasks: dict[int, TaskID] = {}
        self._rhythm = Rhythm()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end()

    def begin(self) -> None:
        """Begin: steps are about to be done."""
        self.asked.arm()
        if self._live:
            self._live.start()
        else:
            self._say("Training")

    def told(self, progress: "Told") -> None:
        """Show how far a run is."""
        words = f"loss {progress.loss:.4f}  {duration(progress.seconds_left)} left"
        if self._live:
            self._move(progress, words)
        elif self._rhythm.is_time() or progress.step == progress.steps:
            done = f"{progress.step:,} of {progress.steps:,} steps"
            self._say(f"Stage {progress.stage} ({progress.objective}): {done}  {words}")

    def end(self) -> None:
        """Leave the live line as it stands."""
        if self._live:
            self._live.stop()

    def _stopping(self) -> None:
        self.end()
        self._say("Stopping at the end of this step; the next signal ends at once, and loses what no checkpoint has")

    def _move(self, progress: "Told", words: str) -> None:
        if self._live is None:
            return
        if progress.stage not in self._tasks:
            name = f"{progress.stage} {progress.objective}"
            self._tasks[progress.stage] = self._live.add_task(name, total=progress.steps, words=words)
        self._live.update(self._tasks[progress.stage], completed=progress.step, words=words)

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _live(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=24, complete_style="green", finished_style="green"),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}  {task.fields[words]}"),
        console=console,
        refresh_per_second=4,
    )
