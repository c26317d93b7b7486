"""The same decode in a short-lived process of its own, for images that may kill the process that reads them."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from msgspec import Struct

from ops.archive.layout import ArchiveError
from ops.decoding import Decoded, Limits, MetadataPolicy, decode
from ops.images import Failure, FailureCode, ImageError

ARRAYS = ("pixels", "alpha")
# Signals that come from outside, such as a machine that is shut down: no image is to blame.
FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
SPARE_SECONDS = 5  # a child without its parent ends itself this much later


class Request(Struct):
    """What the child is told before the encoded bytes; memory is what it may take beyond what Python took to start."""

    limits: Limits
    background: str
    metadata: MetadataPolicy
    seconds: float
    memory_bytes: int


class Answer(Struct):
    """What the child says before the raw bytes of pixels and alpha: the other fields of `Decoded`, or a failure."""

    facts: dict[str, Any]
    shape: tuple[int, int] = (0, 0)
    has_alpha: bool = False
    failure: Failure | None = None


def decode_apart(
    encoded: bytes,
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    background: str = "#ffffff",
    metadata: MetadataPolicy = "keep",
    *,
    seconds: float,
    memory_bytes: int,
) -> Decoded:
    """Return what `decode` returns, or raise what it raises, from a process that may take so long and so much.

    Raises `ImageError` timed_out, out_of_memory, or killed_worker with the signal; `ArchiveError` where the process
    could not do its work, whatever the image. Takes about 0.3 s to start.
    """
    request = Request(limits, background, metadata, seconds, memory_bytes)
    # Files, not pipes: both sides can hold gigabytes and neither can block the other.
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered, tempfile.TemporaryFile() as said:
        _send(asked, request)
        asked.write(encoded)
        asked.seek(0)
        status = _run(asked, answered, said, seconds)
        answered.seek(0)
        if status != 0:
            raise _death(status, said, memory_bytes)
        return _receive(answered)


def _run(asked: IO[bytes], answered: IO[bytes], said: IO[bytes], seconds: float) -> int:
    command = [sys.executable, "-m", "ops.careful"]
    with subprocess.Popen(command, stdin=asked, stdout=answered, stderr=said, env=_environment()) as child:  # noqa: S603
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            reason = f"decoding took longer than {seconds:g} s; allow more seconds or leave this image out"
            raise ImageError(FailureCode.TIMED_OUT, reason) from error
        finally:
            child.kill()


def _environment() -> dict[str, str]:
    """Return the environment in which the child finds this very package, and numpy starts no threads."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # PYTHONSAFEPATH: a folder called ops or PIL in the working directory must not be taken for ours.
    return {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"}


def _death(status: int, said: IO[bytes], memory_bytes: int) -> ImageError | ArchiveError:
    """Return what to raise: the image's failure only where the decoder died of it."""
    said.seek(0)
    last = said.read()[-400:].decode(errors="replace").strip()
    if any(word in last for word in ("MemoryError", "bad_alloc", "memory allocation")):
        reason = f"decoding took more than {memory_bytes:,} bytes; allow more memory or leave this image out"
        return ImageError(FailureCode.OUT_OF_MEMORY, reason)
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    if status > 0 or -status in FROM_OUTSIDE:
        why = " ".join(last.rpartition("\n")[2].split()) or "it said nothing"
        return ArchiveError(
            f"the process that decodes apart ended with {how} ({why}): see that {sys.executable} runs here and "
            f"{tempfile.gettempdir()} has space, and run the same command again"
        )
    return ImageError(FailureCode.KILLED_WORKER, f"the decoder died of {how}; leave this image out. {last}".strip())


def _send(file: IO[bytes], message: Struct) -> None:
    packed = msgspec.msgpack.encode(message)
    file.write(len(packed).to_bytes(8, "big") + packed)


def _read_message(file: IO[bytes]) -> bytes:
    return file.read(int.from_bytes(file.read(8), "big"))


def _receive(file: IO[bytes]) -> Decoded:
    answer = msgspec.msgpack.decode(_read_message(file), type=Answer)
    if answer.failure:
        raise ImageError(answer.failure.code, answer.failure.message)
    pixels, alpha = _receive_array(file, (*answer.shape, 3)), None
    if answer.has_alpha:
        alpha = _receive_array(file, answer.shape)
    return Decoded(pixels=pixels, alpha=alpha, **answer.facts)


def _receive_array(file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, np.uint8)
    file.readinto(array.data.cast("B"))  # pyright: ignore[reportAttributeAccessIssue]
    return array


def _limit(request: Request) -> None:
    """Let the kernel end this process in time and refuse it memory, whatever the decoder does."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + request.memory_bytes, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, request.seconds + SPARE_SECONDS)


def _answer(request: Request, encoded: bytes) -> tuple[Answer, list[np.ndarray]]:
    try:
        decoded = decode(encoded, request.limits, request.background, request.metadata)
    except ImageError as error:
        return Answer({}, failure=error.failure), []
    facts = {name: getattr(decoded, name) for name in Decoded.__struct_fields__ if name not in ARRAYS}
    height, width = decoded.pixels.shape[:2]
    planes = [decoded.pixels] if decoded.alpha is None else [decoded.pixels, decoded.alpha]
    return Answer(facts, (height, width), decoded.alpha is not None), planes


def main() -> None:
    """Read a request and encoded bytes from stdin, write the answer and its arrays to stdout."""
    request = msgspec.msgpack.decode(_read_message(sys.stdin.buffer), type=Request)
    _limit(request)
    answer, arrays = _answer(request, sys.stdin.buffer.read())
    _send(sys.stdout.buffer, answer)
    for array in arrays:
        sys.stdout.buffer.write(array.data.cast("B"))


if __name__ == "__main__":
    main()
