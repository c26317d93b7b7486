"""selftest: whether this machine regrows an archive as its maker did."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal

import typer

from jobs.commands.options import ArchiveArgument, Json, Weights


def selftest(
    archive: ArchiveArgument,
    *,
    weights: Weights = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(show_default="the one that the codec would run on")
    ] = None,
    json: Json = False,
) -> int:
    """Regrow an archive's golden tile here, and say how far it is from what was recorded when the archive was made.

    Exit status 0 where both are equal bit for bit or within one level, 1 where they are further apart.
    """
    from jobs.errors import FAILED
    from jobs.output import write_facts, write_json, write_lines
    from jobs.selftesting import lines_of
    from ops.archive.layout import locate
    from ops.archive.selftest import selftest as run

    found = run(locate(archive), weights or (), device)
    if json:
        write_json(found)
    else:
        write_lines([f"{found.archive}: {found.found}"])
        write_facts(lines_of(found))
    return 0 if found.passed else FAILED
