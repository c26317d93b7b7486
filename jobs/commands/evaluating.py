"""evaluate, compare: numbers for reconstructions, and a report that says what they are worth."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated

import typer

from jobs.commands.options import Address, AllowUntrained, DryRun, Json, Match, Quiet, Weights, Where


def evaluate(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="ARCHIVE|SOURCE", help="An archive, or source images to judge --codecs on."),
    ],
    *,
    references: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", show_default="where the archive found them", help="The originals of an archive."
        ),
    ] = None,
    codecs: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="What to judge on a source, such as bicubic-x16,jpeg-q20.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="How scores are taken: regrow, tadm-iccv25, faitheir, or a file.")
    ] = "regrow",
    metrics: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", show_default="all", help="Only these columns, such as psnr_rgb,lpips_alex."),
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(metavar="A,B,...|none", help="Conventional formats that get the bytes of each thumbnail."),
    ] = "jpeg,webp,avif,jxl",
    rates: Annotated[
        str | None,
        typer.Option(metavar="R,S,...", help="Bits per pixel at which those formats are judged, too: for curves."),
    ] = None,
    data_set: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:SPLIT]", help="SOURCE is the root of this data set: div2k:valid, kodak, ... It is checked."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", show_default="in the archive, or ./evaluations", help="Where it is to lie."),
    ] = None,
    match: Match = None,
    where: Where = None,
    weights: Weights = None,
    allow_untrained: AllowUntrained = False,
    again: Annotated[bool, typer.Option("--again", help="Judge once more what could not be judged before.")] = False,
    address: Address = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Judge an archive, or codecs on images, and write a report. Run again, it takes up where it stopped."""
    from jobs.output import Show
    from jobs.requests import evaluate_request
    from jobs.running import perform

    request = evaluate_request(
        target, codecs=codecs, protocol=protocol, metrics=metrics, baselines=baselines, rates=rates,
        data_set=data_set, references=references, destination=to, match=match, where=where, again=again,
        weights=tuple(weights or ()), allow_untrained=allow_untrained, address=address,
    )  # fmt: skip
    if dry_run:
        from jobs.estimating import dry_run_of

        return dry_run_of(request, json=json)
    return perform(request, Show(command=context.obj, json=json, quiet=quiet))


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="An evaluation's folder or URL.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one, by the same protocol.")],
    *,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page of the comparison here, in place of an older one.")
    ] = None,
    json: Json = False,
) -> int:
    """Compare two evaluations, image by image."""
    from jobs.comparing import compare_runs
    from jobs.output import write_lines, write_lines_as_they_are
    from jobs.report.runs import comparison_json, comparison_lines, comparison_page
    from ops.stores import absolute, open_store

    found = compare_runs(first, second)
    if to is not None:
        open_store(absolute(to)).put(absolute(to), comparison_page(found).encode())
    if json:
        write_lines_as_they_are([comparison_json(found).rstrip()])
    else:
        write_lines(comparison_lines(found))
    return 0
