"""verify, selftest: whether an archive is as it was written, and whether this machine regrows it as its maker did."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal

import typer

from jobs.commands.options import ArchiveArgument, Json, Quiet, Weights


def verify(
    context: typer.Context,
    archive: ArchiveArgument,
    *,
    share: Annotated[
        float | None,
        typer.Option(metavar="S", show_default="all", help="Read so much of it, such as 0.05; the next run goes on."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Read an archive, and say whether every thumbnail is as it was written; which are not, if any.

    Exit status 0 where it is intact, 1 where anything is damaged or missing.
    """
    from jobs.output import Show
    from jobs.requests import VerifyRequest
    from jobs.running import perform

    request = VerifyRequest(archive=archive, share=share)
    return perform(request, Show(command=context.obj, json=json, quiet=quiet))


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
