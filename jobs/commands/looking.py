"""show, ls, failures: what an archive holds of each image."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated

import typer

from jobs.commands.options import ArchiveArgument, Json, JsonLines, Match, Where


def show(
    archive: ArchiveArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `regrow ls` lists it.")],
    to: Annotated[str | None, typer.Option(metavar="FILE", help="Write the thumbnail's exact bytes here.")] = None,
    json: Json = False,
) -> int:
    """Show one image's thumbnail in the terminal, and what is kept of it."""
    from jobs.output import write_facts, write_json
    from jobs.showing import draw_here, facts_of, find, write_thumbnail
    from ops.archive.reading import Archive

    opened = Archive.open(archive)
    row = find(opened, key)
    facts = facts_of(opened, row)
    if to is not None:
        write_thumbnail(opened, row, to)
    if json:
        write_json(facts)
    else:
        draw_here(opened, row)
        write_facts(facts.lines())
    return 0


def ls(
    archive: ArchiveArgument,
    match: Match = None,
    where: Where = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes, bytes and status.")] = False,
    json: JsonLines = False,
) -> int:
    """List the keys of an archive."""
    from jobs.listing import long_lines, rows_of
    from jobs.output import write_json_lines, write_lines
    from ops.archive.reading import Archive

    rows = rows_of(Archive.open(archive), match, where)
    if json:
        write_json_lines(rows)
    else:
        write_lines(long_lines(rows) if long else (row.key for row in rows))
    return 0


def failures(archive: ArchiveArgument, json: JsonLines = False) -> int:
    """List the images that have no thumbnail, and why."""
    from jobs.listing import Failed, failed_images
    from jobs.output import write_json_lines, write_lines, write_table
    from ops.archive.reading import Archive

    opened = Archive.open(archive)
    if json:
        write_json_lines(failed_images(opened))
        return 0
    found = sorted(failed_images(opened), key=Failed.order)
    if found:
        write_table(("CODE", "KEY", "MESSAGE"), [(one.code, one.key, one.message) for one in found])
    else:
        write_lines([f"{opened.location.url}: no image failed"])
    return 0


def info(archive: ArchiveArgument, json: Json = False) -> int:
    """Say what an archive is and holds, and what is still to do."""
    from jobs.info import read_info, write_info
    from jobs.output import write_json

    found = read_info(archive)
    if json:
        write_json(found)
    else:
        write_info(found)
    return 0
