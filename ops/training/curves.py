"""Curves of a run: a line of JSON per point, and TensorBoard where it is installed."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from ops.stores.local import LocalStore
from ops.training.errors import unwritten

FILE, BOARD = "curves.jsonl", "tensorboard"
_OWN = ("stage", "step")


class Curves:
    """Appends points to `curves.jsonl` of a run's folder, and to `tensorboard/`, one of its runs per stage.

    `first_step` is the (stage, step), both from 0, with which the run goes on: points of it and of later ones are of
    a run that was cut off, and dropped first, as is a line that was torn; so the file of a resumed run is that of one
    that was never interrupted. Raises TrainingError where the files cannot be written.
    """

    def __init__(self, folder: Path, first_step: tuple[int, int] = (0, 0)) -> None:
        self._folder, self._first, self._path = folder, first_step, folder / FILE
        self._boards: dict[int, Any] = {}
        with self._told(0):
            folder.mkdir(parents=True, exist_ok=True)
            _drop_from(self._path, first_step)
            self._file: BinaryIO = self._path.open("ab")

    def add(self, stage: int, step: int, values: Mapping[str, float]) -> None:
        """Append a point: `step` is the index of the step, from 0, that the values are of.

        What is no finite number is null in the file. Raises ValueError for a value called `stage` or `step`.
        """
        if taken := [name for name in _OWN if name in values]:
            raise ValueError(f"a curve cannot be called {taken[0]!r}: that is where a line says when it was")
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = msgspec.json.encode({"stage": stage, "step": step, **finite}) + b"\n"
        with self._told(len(line)):
            self._file.write(line)
            self._file.flush()
            if board := self._board(stage):
                for name, value in values.items():
                    board.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk was told when the line was added
            self._file.close()
        for board in filter(None, self._boards.values()):
            with contextlib.suppress(OSError):
                board.close()

    def _board(self, stage: int) -> Any:
        """Return the writer of a stage, which hides points from the resumed step on; None without TensorBoard."""
        if stage not in self._boards:
            begins = self._first[1] if stage == self._first[0] else 0
            self._boards[stage] = _writer(self._folder / BOARD / f"stage-{stage}", begins)
        return self._boards[stage]

    @contextlib.contextmanager
    def _told(self, num_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritten(self._path, num_bytes, error) from error


def read_points(path: Path) -> list[dict[str, Any]]:
    """Return the points of a file of curves, in order; a line that was torn is left out."""
    return [point for _, point in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in path.read_bytes().splitlines(keepends=True):
        with contextlib.suppress(msgspec.DecodeError):
            point = msgspec.json.decode(line, type=dict[str, Any])
            if line.endswith(b"\n") and all(name in point for name in _OWN):
                yield line, point


def _drop_from(path: Path, first: tuple[int, int]) -> None:
    if not path.exists():
        return
    kept = b"".join(line for line, point in _lines(path) if (point["stage"], point["step"]) < first)
    if len(kept) < path.stat().st_size:
        LocalStore().put(str(path), kept)


def _writer(folder: Path, begins: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra, and slow to import
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=begins)
