"""Measured work runs in a process of its own: cold, with its own memory, ended with everything that it started.

A child is a function `module:name` of this package. It gets its arguments as JSON, hands its answer back as JSON, and
may stop at marks, at which the parent looks at a counter before it goes on.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

_MARK, _ANSWER = "bench-mark ", "bench-answer "

Marked = Callable[[str], None]


def nothing(_name: str) -> None:
    """Do nothing at a mark."""


def call(
    function: str,
    arguments: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    marked: Marked = nothing,
    started: Callable[[int], None] | None = None,
) -> Any:
    """Run a function of `bench` in a fresh Python and return its answer; `started` gets its process id.

    Raises RuntimeError with the end of what it wrote where it failed.
    """
    command = [sys.executable, "-m", "bench.children", function, json.dumps(dict(arguments))]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
        env={**os.environ, **(environment or {})}, start_new_session=True,
    )  # fmt: skip
    try:
        if started:
            started(child.pid)
        return _listen(child, function, marked)
    finally:
        if child.poll() is None:
            # Its whole group, so that a Ray session of a broken child does not outlive it.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _listen(child: subprocess.Popen[str], function: str, marked: Marked) -> Any:
    assert child.stdin
    assert child.stdout
    said = []
    for line in child.stdout:
        if line.startswith(_MARK):
            marked(line.removeprefix(_MARK).strip())
            child.stdin.write("\n")
            child.stdin.flush()
        elif line.startswith(_ANSWER):
            answer = json.loads(line.removeprefix(_ANSWER))
            child.wait(120)
            return answer
        else:
            said.append(line)
    raise RuntimeError(f"{function} ended with {child.wait()} and no answer; its last words: {''.join(said)[-1000:]}")


def mark(name: str) -> None:
    """Stop in a child until its parent has looked at its counters."""
    print(f"{_MARK}{name}", flush=True)
    sys.stdin.readline()


def peak_bytes() -> int:
    """Return the most resident memory that this process has had. Unlike ru_maxrss, an exec starts it anew."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _main() -> None:
    function, arguments = sys.argv[1:3]
    module, _, name = function.partition(":")
    answer = getattr(import_module(f"bench.{module}"), name)(**json.loads(arguments))
    print(f"{_ANSWER}{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    _main()
