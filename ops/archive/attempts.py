"""Marks that a worker leaves before it starts, so that an input that kills workers is found out and goes no further.

A mark without its part means that a worker did not come back. Three things can have happened, and they are told apart
by the run that the mark names: the worker died while its run went on (the input is suspect), the whole run died (power,
a killed driver: the input may be to blame, or not), or the run was stopped on purpose (nobody died).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ops.archive.layout import Location
from ops.stores import is_there

# The first death makes the next attempt careful; then an image that was in hand at two deaths of one run is the
# killer. Runs that died whole say less: it takes one more of these.
DEATHS_TO_CONVICT = 2
STOPPED = "stopped"
_END = "end"


class Attempt(Struct, frozen=True):
    """One try at a chunk by a run. `number` counts from 0, `deaths` the tries before that did not come back.

    `suspects` has, for images that were in hand at a death, the run that each time saw it or died with it.
    """

    location: Location
    chunk_id: str
    run: str
    number: int
    deaths: int
    suspects: Mapping[int, Sequence[str]]

    @property
    def careful(self) -> bool:
        """Whether a worker may have died of this chunk."""
        return self.deaths > 0

    def convicted(self, index: int) -> bool:
        """Say whether an image of the chunk has killed its worker often enough."""
        runs = self.suspects.get(index, ())
        return runs.count(self.run) >= DEATHS_TO_CONVICT or len(runs) > DEATHS_TO_CONVICT

    def take_in_hand(self, index: int | None) -> None:
        """Record, in careful mode, which image is worked on next; None after the last."""
        if self.careful:
            mark = _END if index is None else f"{index:04d}"
            self.location.store.put_new(self.location.attempt(self.chunk_id, f"{self.number}-{mark}"), b"")


def begin(location: Location, chunk_id: str, run: str) -> Attempt:
    """Leave the mark of a new attempt of a run: one put for a chunk that was never tried."""
    number, marks = 0, []
    while not location.store.put_new(location.attempt(chunk_id, f"{number}"), run.encode()):
        marks = [stored.url.rsplit("/", 1)[-1] for stored in location.store.walk(location.at("attempts", chunk_id))]
        number = max([int(mark.split("-")[0]) for mark in marks], default=number) + 1
    runs = _runs_that_died(location, chunk_id, marks)
    return Attempt(location, chunk_id, run, number, len(runs), _suspects(marks, runs))


def stop(location: Location, run: str) -> None:
    """Say that a run was stopped on purpose: what its workers had begun is no sign of a death."""
    location.store.put_new(_stopped(location, run), b"")


def _stopped(location: Location, run: str) -> str:
    return location.attempt(STOPPED, run)


def _runs_that_died(location: Location, chunk_id: str, marks: Iterable[str]) -> dict[int, str]:
    """Return, by the number of each attempt that ended in a death, its run."""
    numbers = sorted(int(mark) for mark in marks if "-" not in mark)
    runs = {number: _read(location, location.attempt(chunk_id, f"{number}")) for number in numbers}
    last = {run: number for number, run in runs.items()}
    # Its other attempts ended while it was running.
    stopped = {number for run, number in last.items() if run and is_there(location.store, _stopped(location, run))}
    return {number: run for number, run in runs.items() if number not in stopped}


def _read(location: Location, url: str) -> str:
    try:
        return location.store.read(url).decode(errors="replace")
    except FileNotFoundError:  # another driver has sealed, and sweeps
        return ""


def _suspects(marks: Iterable[str], runs: Mapping[int, str]) -> dict[int, list[str]]:
    """Return, over careful attempts, the last image taken in hand; none where the attempt came to its end."""
    last: dict[int, str] = {}
    for mark in sorted(marks):  # "end" sorts after every number
        number, _, index = mark.partition("-")
        if index and int(number) in runs:
            last[int(number)] = index
    found: dict[int, list[str]] = defaultdict(list)
    for number, index in last.items():
        if index != _END:
            found[int(index)].append(runs[number])
    return dict(found)
