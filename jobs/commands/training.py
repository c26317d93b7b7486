"""train: the networks of a codec, from a job file to the file of weights that the codec runs on."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal

import typer

from jobs.commands.options import Quiet


def train(
    context: typer.Context,
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job file (.yaml), or one that comes with regrow: nano-x16.")
    ],
    *,
    out: Annotated[
        str,
        typer.Option(metavar="FOLDER", show_default="runs/JOB", help="The run's folder. One that is there is gone on."),
    ] = "",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="`auto` is a GPU where torch can use one.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="torch's own", help="Threads of each worker.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", show_default="none: no Ray", help="Train with N workers under Ray.")
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", show_default="this machine", help="The Ray cluster on which the workers are."),
    ] = None,
    only_check: Annotated[
        bool, typer.Option("--only-check", help="List photographs, send a crop through each stage, and train nothing.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Train the networks of a codec on photographs. Run again with the same folder, it goes on where it stopped."""
    from jobs.training import Where, check_job, folder_for, read_training, train_job

    settings = read_training(job)
    where = Where(
        device=device, threads=threads, workers=workers, address=cluster, quiet=quiet, command=context.obj or ()
    )  # fmt: skip
    if only_check:
        return check_job(settings, where)
    return train_job(settings, folder_for(job, out), where)
