"""job: jobs on a cluster, submitted and looked after."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, TypeAlias

import typer

from jobs.commands.options import Json, Quiet, example

app = typer.Typer(no_args_is_help=True, help="Submit job files to a Ray cluster, and look after them.")

Cluster: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="A described cluster (`regrow cluster list`) with a dashboard.")
]
ServerAddress: TypeAlias = Annotated[
    str | None,
    typer.Option("--address", metavar="URL", envvar="RAY_API_SERVER_ADDRESS", help="Its dashboard: http://head:8265."),
]
JobId: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="As `regrow job list` shows it.")]


@app.command(epilog=example("regrow job submit nightly.yaml --cluster kuberay"))
def submit(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job file; its places must be the cluster's, too.")],
    *,
    cluster: Cluster = None,
    address: ServerAddress = None,
    image: Annotated[
        bool, typer.Option("--image", help="Run the regrow that is installed there, and send no code.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the log.")] = False,
    quiet: Quiet = False,
) -> int:
    """Run a job file on a cluster. The same job is not started twice; it goes on when this terminal closes."""
    from jobs.notifying import read_notify
    from jobs.spec import read_job
    from jobs.submitting import server_at, submit_job

    request, notify = read_job(job), read_notify(job)
    return submit_job(server_at(cluster, address), request, notify, image=image, follow=not no_wait, quiet=quiet)


@app.command("list", epilog=example("regrow job list --address http://head:8265"))
def list_(*, cluster: Cluster = None, address: ServerAddress = None, json: Json = False) -> int:
    """List the jobs that were submitted to a cluster."""
    from jobs.submitting import list_jobs, server_at

    list_jobs(server_at(cluster, address), json=json)
    return 0


@app.command(epilog=example("regrow job logs regrow-archive-1f6a0c2d98d1-1 --follow"))
def logs(
    job: JobId,
    *,
    cluster: Cluster = None,
    address: ServerAddress = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until it ends; its exit status is this one's.")
    ] = False,
) -> int:
    """Write what a job has written."""
    from jobs.output import write_lines
    from jobs.submitting import follow_job, found_job, server_at

    server = server_at(cluster, address)
    found_job(server, job)
    if follow:
        return follow_job(server, job)
    write_lines(server.log(job).splitlines())
    return 0


@app.command(epilog=example("regrow job stop regrow-archive-1f6a0c2d98d1-1"))
def stop(job: JobId, *, cluster: Cluster = None, address: ServerAddress = None) -> int:
    """End a job, as Ctrl-C would. Submitted again, it goes on where it stopped."""
    from jobs.output import write_lines
    from jobs.submitting import found_job, server_at

    server = server_at(cluster, address)
    found = found_job(server, job)
    write_lines([f"{job} is asked to stop" if server.stop(job) else f"{job} was over already ({found.status.lower()})"])
    return 0
