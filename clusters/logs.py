"""Log lines of runs: each says which run, and which chunk, it is of, so that a log collector can be asked for either.

Workers always write them, on stderr, which Ray keeps in files on every node; a driver where REGROW_LOG asks for it.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal, cast, get_args

import msgspec
from msgspec import Struct

LOG = "REGROW_LOG"
Form = Literal["text", "json"]
_PACKAGES = ("ops", "pipelines", "clusters", "jobs")
_CHUNK: ContextVar[str] = ContextVar("chunk", default="")


class Logged(Struct, frozen=True, kw_only=True):
    """What workers are told, so that their lines are of the driver's run and form. Without a run, of none."""

    run: str = ""
    form: Form = "text"


def form_asked() -> Form | None:
    """Return in which form REGROW_LOG wants a driver's lines, if any. Raises ValueError for one that there is not."""
    found = os.environ.get(LOG, "")
    if found and found not in get_args(Form):
        raise ValueError(f"{LOG} is {found!r}: write text or json, or unset it")
    return cast("Form", found) if found else None


@contextmanager
def of_run(run: str) -> Iterator[None]:
    """Have the lines of this process, and of the workers that it starts meanwhile, say this run.

    They are written on stderr where REGROW_LOG asks for it.
    """
    form = form_asked()
    before, _process.logged = _process.logged, Logged(run=run, form=form or "text")
    handler = _handler(form) if form else None
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    levels = [logger.level for logger in loggers]
    if handler:
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        _process.logged = before
        for logger, level in zip(loggers, levels, strict=True):
            if handler:
                logger.removeHandler(handler)
                logger.setLevel(level)


@contextmanager
def of_chunk(chunk: str) -> Iterator[None]:
    """Have the lines of the block, in this thread, say this chunk."""
    token = _CHUNK.set(chunk)
    try:
        yield
    finally:
        _CHUNK.reset(token)


def logged_here() -> Logged:
    """Return what the workers of this process's run are told."""
    return _process.logged


@contextmanager
def in_worker(logged: Logged | None, chunk: str = "") -> Iterator[None]:
    """Have the lines of a block of a worker say its run and chunk; what it raises is a line, too.

    Without `logged` it is no worker's, and logging stays as it is.
    """
    if logged is None:
        yield
        return
    _process.logged = logged
    _write_in_worker(logged.form)
    with of_chunk(chunk):
        try:
            yield
        except Exception:
            logging.getLogger(__name__).exception("failed")
            raise


class _Process:
    """What this process works for: one run at a time, in all its threads."""

    logged = Logged()


_process = _Process()


@cache
def _write_in_worker(form: Form) -> None:
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [_handler(form)]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _handler(form: Form) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text() if form == "text" else _Json())
    return handler


class _Text(logging.Formatter):
    """`2026-11-25T01:30:00.250Z INFO run=nightly-... chunk=00000-... jobs.progress: Starting`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        tags = [f"{name}={value}" for name, value in _tags().items()]
        return " ".join([_time_of(record), record.levelname, *tags, f"{record.name}: {record.message}"])


class _Json(logging.Formatter):
    """The same as an object of JSON a line; a traceback is its field `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time_of(record), "level": record.levelname, **_tags(), "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def _tags() -> dict[str, str]:
    return {name: value for name, value in (("run", _process.logged.run), ("chunk", _CHUNK.get())) if value}


def _time_of(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"
