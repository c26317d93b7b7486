"""estimate: what a job will take, before it runs."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated

import typer

from jobs.commands.options import Json


def estimate(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job file: archive, reconstruct or evaluate.")],
    *,
    headers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Read the headers of at most so many images.")
    ] = 1000,
    seconds: Annotated[
        float, typer.Option(min=0, metavar="S", help="Try images for about so long; one is always tried.")
    ] = 20.0,
    speed: Annotated[
        float | None,
        typer.Option(metavar="MP/S", show_default="as measured here", help="Megapixels a second of one GPU."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Price of an hour of one GPU, or of one actor.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="What it takes on a cluster, too: a name or a .yaml file."
        ),
    ] = None,
    no_quality: Annotated[
        bool, typer.Option("--no-quality", help="Do not regrow a few images to say how good the codec is.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what a job will read, write, take and cost: headers are read, a few images tried, nothing is written."""
    from jobs.estimating import asked_from, estimate_job
    from jobs.quoting import cluster_for
    from jobs.spec import read_job

    asked, on = asked_from(headers, seconds, speed, judge=not no_quality), cluster_for(cluster, price)
    return estimate_job(read_job(job), asked, price, on, json=json)
