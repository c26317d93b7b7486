"""Which errors a user may meet, as one line and an exit status: 1 for failed input, 2 for wrong use."""

import os
import sys
from typing import NamedTuple

from jobs.words import plain

FAILED, WRONG_USE = 1, 2
# The status of a program that a closed pipe ended, as shells report it.
CLOSED_PIPE = 141
# Packages that not everybody installs, and the extra that brings them.
EXTRAS = {
    "ray": "ray",
    **dict.fromkeys(("torch", "safetensors", "diffusers", "peft", "transformers", "huggingface_hub"), "codecs"),
}


class UsageError(Exception):
    """The command line or a job file asks for what there is not, or for things that exclude one another."""


class InputError(Exception):
    """What was named cannot be used as asked."""


class Told(NamedTuple):
    """What to print on stderr, and the exit status."""

    line: str
    status: int


def tell(error: BaseException) -> Told | None:
    """Return an expected error in one line; nothing for one that should not have happened."""
    status = _status(error)
    if status is None:
        return None
    return Told("; ".join(line.strip() for line in plain_lines(_message(error))), status)


def plain_lines(message: str) -> list[str]:
    """Return the lines of a message, each fit for a terminal."""
    return [plain(line) for line in message.splitlines() if line.strip()]


def closed_pipe() -> int:
    """Leave quietly when nobody reads on, as with `| head`; return the exit status."""
    # What is still buffered would fail again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_PIPE


def _status(error: BaseException) -> int | None:
    """Return an exit status by type. The types are imported here: an error is no reason to slow every start."""
    if isinstance(error, UsageError):
        return WRONG_USE
    if isinstance(error, InputError | OSError) or _is_not_installed(error):
        return FAILED
    from ops.archive.layout import ArchiveError, SettingError  # noqa: PLC0415
    from ops.archive.where import WhereError  # noqa: PLC0415
    from ops.codecs.learned import MisfitWeights  # noqa: PLC0415
    from ops.codecs.names import CodecError  # noqa: PLC0415
    from ops.images import ImageError  # noqa: PLC0415
    from ops.marks import MarkError  # noqa: PLC0415
    from ops.metrics.base import Unavailable  # noqa: PLC0415
    from ops.sources import SourceError  # noqa: PLC0415
    from ops.stores.routing import PathError  # noqa: PLC0415
    from ops.training.errors import TrainingError  # noqa: PLC0415
    from ops.weights import UnknownWeights, WeightsError  # noqa: PLC0415

    if isinstance(error, CodecError | MisfitWeights | WhereError | SettingError | PathError | UnknownWeights):
        return WRONG_USE
    failed = (ArchiveError, SourceError, MarkError, ImageError, Unavailable, WeightsError, TrainingError)
    if isinstance(error, failed) or _is_of_s3(error):
        return FAILED
    return None


def _is_of_s3(error: BaseException) -> bool:
    """Say whether botocore raised it: no credentials, no connection. Those are no OSErrors."""
    return any(kind.__module__.startswith("botocore.") for kind in type(error).__mro__)


def _is_not_installed(error: BaseException) -> bool:
    """Say whether an optional package is missing. Without a name, the error is ours and says what to install."""
    return isinstance(error, ModuleNotFoundError) and (error.name is None or _package(error) in EXTRAS)


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _message(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"this needs {_package(error)}: pip install 'regrow[{EXTRAS[_package(error)]}]'"
    # str() of an OSError quotes and numbers.
    return _of_system(error) if isinstance(error, OSError) else str(error)


def _of_system(error: OSError) -> str:
    cause = error.strerror or str(error) or type(error).__name__
    name = "" if error.filename is None else str(error.filename)
    return cause if not name or name in cause else f"{name}: {cause}"
