"""Results on stdout: tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from jobs.notifying import Notify
from jobs.words import plain

_ENDLESS = 1_000_000


class Show(Struct, frozen=True, kw_only=True):
    """How a run is shown; `command` is what the user typed, to be typed again.

    `notify` is who is told when it ends badly. `some_may_fail` makes a run that came to its end one with exit status 0,
    though images failed.
    """

    command: Sequence[str] = ()
    json: bool = False
    quiet: bool = False
    notify: Notify | None = None
    some_may_fail: bool = False


def write_json(document: object) -> None:
    """Write one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def write_json_lines(documents: Iterable[object]) -> None:
    """Write a JSON document a line."""
    for document in documents:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Write lines, unwrapped; on a terminal, what it would obey is shown instead."""
    shown = plain if sys.stdout.isatty() else str
    for line in lines:
        sys.stdout.write(f"{shown(line)}\n")


def write_facts(facts: Sequence[tuple[str, str]], indent: int = 2) -> None:
    """Write names and values, aligned."""
    width = max((len(name) for name, _ in facts), default=0)
    write_lines(f"{'':{indent}}{name:<{width}}  {value}".rstrip() for name, value in facts)


def write_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Write a table as wide as its content, or as the terminal: then the last column is folded."""
    is_terminal = sys.stdout.isatty()
    # Programs want a row a line, however long, and no colours: a console cuts every width to its own.
    plainly: dict[str, Any] = {} if is_terminal else {"width": _ENDLESS, "force_terminal": False}
    console = Console(highlight=False, **plainly)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for at, heading in enumerate(headings):
        last = at == len(headings) - 1
        table.add_column(
            heading, justify="right" if at in numbers else "left", overflow="fold", no_wrap=not last or at in numbers
        )
    for row in rows:
        table.add_row(*(plain(cell).replace("[", r"\[") for cell in row))
    with console.capture() as drawn:
        console.print(table, soft_wrap=True)
    write_lines_as_they_are(line.rstrip() for line in drawn.get().splitlines())


def write_lines_as_they_are(lines: Iterable[str]) -> None:
    """Write lines that hold what a terminal is to obey."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
