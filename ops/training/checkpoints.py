"""Checkpoints of a run: written whole or not at all, the newest good one found again, few kept."""

import contextlib
import logging
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import torch
from msgspec import Struct

from ops.stores.local import sync_folder
from ops.training.errors import TrainingError, unwritten

Fact: TypeAlias = bool | int | float | str | None

NEWEST_KEPT = 2
ASIDE, KEPT, UNREADABLE = ".new", ".keep", ".unreadable"
_NAME = re.compile(r"(\d+)-(\d+)\.pt")
# What zipfile and torch raise over bytes that are not what was written; they call a torn end an OSError, too.
_NOT_AS_WRITTEN = (
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, OSError, RuntimeError, LookupError, TypeError,
    ValueError,
)  # fmt: skip


class Checkpoint(Struct, frozen=True, kw_only=True):
    """All that a run needs to go on: `step` steps of stage `stage`, from 0, are done.

    `digest` is that of the run's configuration, of the stages that were begun. `model`, `average` and `optimiser` are
    state dictionaries of tensors and plain values, on the CPU when read; `facts` are small ones that the loop wants
    back.
    """

    stage: int
    step: int
    digest: str
    model: dict[str, Any]
    average: dict[str, Any]
    optimiser: dict[str, Any]
    facts: dict[str, Fact] = {}

    @property
    def name(self) -> str:
        """The name of its file, such as `01-0012000.pt`."""
        return name_of(self.stage, self.step)


def name_of(stage: int, step: int) -> str:
    """Return how the checkpoint behind `step` steps of a stage is called."""
    return f"{stage:02}-{step:07}.pt"


def save(folder: Path, checkpoint: Checkpoint, *, keep: bool = False) -> Path:
    """Write a checkpoint and return its path; it is there whole, on disk, or not at all.

    The newest two stay, and those that were written with `keep` (at the end of a stage, marked by a file `.keep`
    beside); older ones are removed, but only when the new one is safe. Raises TrainingError where it cannot be written:
    what was there before is as it was.
    """
    path = folder / checkpoint.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        _write(path, msgspec.structs.asdict(checkpoint), keep)
    except (OSError, RuntimeError) as error:
        # Behind a failed write torch ends its archive all the same, and fails once more, as a RuntimeError.
        failed = error if isinstance(error, OSError) else error.__context__
        if not isinstance(failed, OSError):
            raise
        raise unwritten(path, _num_bytes(msgspec.structs.asdict(checkpoint)), failed) from error
    _prune(folder)
    return path


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint of a folder that is as it was written, or None where none was ever written.

    One that is torn or corrupt is told in the log, set aside under the ending `.unreadable`, and the one before it
    is taken. Raises TrainingError where there are some, and none is good: a run never begins anew by itself.
    """
    paths = _paths(folder)
    for path in reversed(paths):
        try:
            return _read(path)
        except _NOT_AS_WRITTEN as error:
            _set_aside(path, error)
    if paths or any(folder.glob(f"*{UNREADABLE}")):
        raise TrainingError(f"{folder} has no checkpoint that can be read: remove the folder to begin anew")
    return None


def check(checkpoint: Checkpoint, digests: Sequence[str]) -> None:
    """Raise TrainingError where a checkpoint is of another configuration.

    `digests` has, for each stage, that of the run up to its end: what was not begun may still be changed or added.
    """
    begun = checkpoint.stage + (checkpoint.step > 0)
    if begun > len(digests):
        raise TrainingError(
            f"checkpoint {checkpoint.name} is of a run with {begun} stages begun, but the job has {len(digests)}: "
            "train into another folder, or give the job file as it was"
        )
    digest = digests[begun - 1]
    if checkpoint.digest != digest:
        raise TrainingError(
            f"checkpoint {checkpoint.name} is of configuration {checkpoint.digest}, but this run's is {digest}: "
            "train into another folder, or give the job file as it was"
        )


def _write(path: Path, content: dict[str, Any], keep: bool) -> None:
    temporary = path.with_name(path.name + ASIDE)
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        # What cannot be read back (such as a number of numpy's among the facts) must not stand for what can.
        torch.load(temporary, weights_only=True, map_location="cpu", mmap=True)
        if keep:
            path.with_suffix(KEPT).touch()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path) -> Checkpoint:
    with zipfile.ZipFile(path) as archive:  # torch itself passes over the checksums
        if torn := archive.testzip():
            raise zipfile.BadZipFile(f"its part {torn} is not as it was written")
    return Checkpoint(**torch.load(path, weights_only=True, map_location="cpu"))


def _set_aside(path: Path, error: Exception) -> None:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    logging.getLogger(__name__).warning("checkpoint %s cannot be read (%s): the one before it is taken", path, reason)
    path.with_suffix(KEPT).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + UNREADABLE))


def _paths(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    found = [(match, path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda one: (int(one[0][1]), int(one[0][2])))]


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed while it wrote has left, which may be what fills the disk."""
    for left in folder.glob(f"*.pt{ASIDE}"):
        left.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    for path in _paths(folder)[:-NEWEST_KEPT]:
        if not path.with_suffix(KEPT).exists():
            with contextlib.suppress(OSError):  # one too many does no harm
                path.unlink()


def _num_bytes(state: Any) -> int:
    """Return the bytes of the tensors in nested dictionaries and lists, which are nearly all of a file."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    nested = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(_num_bytes(one) for one in nested)
