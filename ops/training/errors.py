"""What ends a training run, in one line with its remedy."""

import shutil
from pathlib import Path

MEGABYTE = 1_000_000


class TrainingError(RuntimeError):
    """A run cannot go on. The message names the thing, the value and the remedy."""


def unwritten(path: Path, num_bytes: int, error: OSError) -> TrainingError:
    """Return the error of a file of `num_bytes` that could not be written, with what is free where it should lie."""
    return TrainingError(
        f"{path} cannot be written ({error.strerror or error}): it needs {_megabytes(num_bytes)}, {_free(path)} there; "
        "make room, or allow larger files, and start the same command again: it goes on from the last checkpoint"
    )


def _free(path: Path) -> str:
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), Path("/"))
    try:
        return f"{_megabytes(shutil.disk_usage(there).free)} are free"
    except OSError:  # a folder on a store that is gone
        return "nobody can say how much is free"


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / MEGABYTE:,.1f} MB"
