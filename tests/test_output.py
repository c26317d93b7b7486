"""What is written on stdout: a row a line where programs read it, folded to its width on a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = """
from jobs.output import write_table
write_table(("CODE", "KEY", "MESSAGE"), [("corrupt", "k" * 60, "the decoder gave up " * 20), ("empty", "b", "x")])
"""
MESSAGE = ("the decoder gave up " * 20).rstrip()


@pytest.mark.parametrize("environment", [{}, {"COLUMNS": "40"}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_piped_table_has_a_row_a_line_however_long(environment):
    command = [sys.executable, "-c", TABLE]
    out = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=True, text=True
    ).stdout
    lines = out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert [line.split(maxsplit=2) for line in lines] == [
        ["CODE", "KEY", "MESSAGE"],
        ["corrupt", "k" * 60, MESSAGE],
        ["empty", "b", "x"],
    ]
    assert not any(line.endswith(" ") for line in lines)


def test_on_a_terminal_the_last_column_is_folded():
    master, terminal = pty.openpty()
    command = [sys.executable, "-c", TABLE]
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "COLUMNS": "100"}, stdout=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            content = os.read(master, 65536)
        except OSError:  # Linux says so where the other end is closed
            break
        if not content:
            break
        shown += content
    os.close(master)
    assert child.wait(60) == 0
    lines = shown.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) > 3 + 10
    assert max(map(len, lines)) <= 100
