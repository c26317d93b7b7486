"""Submitting a job file to a cluster: what is sent, under which id, and what is told of it."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from jobs.errors import InputError, UsageError
from jobs.notifying import Notify
from jobs.output import write_json, write_lines, write_table
from jobs.requests import AnyRequest, address_of

if TYPE_CHECKING:
    from clusters.submission import JobServer, Submitted

PACKAGES = ("ops", "pipelines", "clusters", "jobs")
JOB = "job.yaml"
_PYTHON = "${REGROW_PYTHON:-python}"


def server_at(cluster: str | None, address: str | None) -> "JobServer":
    """Return the job server of a described cluster, or at an address. Raises UsageError where none is named."""
    from clusters.submission import JobServer  # noqa: PLC0415  it needs Ray
    from jobs.clusters import read_cluster  # noqa: PLC0415

    if address is None and cluster is not None:
        address = read_cluster(cluster).dashboard
        if not address:
            raise UsageError(
                f"cluster {cluster} has no dashboard: write one, such as http://head:8265, or give --address"
            )
    if address is None:
        raise UsageError("say where the job is to run: --cluster NAME, or --address http://head:8265")
    return JobServer(address)


def submission_id(request: AnyRequest, earlier: Sequence["Submitted"]) -> str:
    """Return the id of a request on a cluster: the same for the same request, until that run has ended.

    Raises InputError while one of them has not: two drivers would only be in each other's way.
    """
    from jobs.runs.record import kind_of, request_digest  # noqa: PLC0415  with pipelines

    base = f"regrow-{kind_of(request)}-{request_digest(request)[:12]}"
    same = [one for one in earlier if one.id.rpartition("-")[0] == base]
    if running := [one for one in same if not one.is_over]:
        raise InputError(
            f"this run was submitted already and is {running[0].status.lower()}: regrow job logs {running[0].id}"
        )
    return f"{base}-{1 + max((int(one.id.rpartition('-')[2]) for one in same), default=0)}"


def submit_job(
    server: "JobServer", request: AnyRequest, notify: Notify | None = None, *, image: bool, follow: bool, quiet: bool
) -> int:
    """Submit a request, and follow its log unless told otherwise; return the exit status.

    `notify` is told where the job runs: there its environment variables are looked up.
    """
    if (address := address_of(request)) is not None:
        raise UsageError(f"address is {address}: leave it out of a job that is submitted to its cluster")
    job = submission_id(request, server.jobs())
    run = shlex.join(["run", JOB, "--run-id", job])
    entrypoint = f"regrow {run}" if image else f"{_PYTHON} -m jobs.cli {run}"
    with _sent(request, notify, with_code=not image) as folder:
        server.submit(job, entrypoint, folder, _environment(), regrow=run)
    if not quiet:
        sys.stderr.write(f"regrow: submitted as {job} to {server.address}\n")
    return follow_job(server, job) if follow else 0


def follow_job(server: "JobServer", job: str) -> int:
    """Write what a job writes until it ends; return its exit status: 0, or 1 where it failed or was stopped."""
    try:
        for text in server.follow(job):
            sys.stdout.write(text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write(
            f"regrow: {job} goes on; to follow it: regrow job logs {job} --follow; to end it: regrow job stop {job}\n"
        )
        raise
    found = found_job(server, job)
    if found.status == "SUCCEEDED":
        return 0
    raise InputError(f"{job} {found.status.lower()}: {' '.join(found.message.split())[:300] or 'its log says why'}")


def found_job(server: "JobServer", job: str) -> "Submitted":
    """Return a job by its id. Raises InputError where there is none."""
    try:
        return server.find(job)
    except LookupError as error:
        raise InputError(str(error.args[0])) from error


def list_jobs(server: "JobServer", *, json: bool) -> None:
    """Write the cluster's jobs that regrow has submitted, the newest last."""
    from jobs.words import duration  # noqa: PLC0415

    found = [one for one in server.jobs() if "regrow" in one.metadata]
    if json:
        write_json(found)
        return
    if not found:
        write_lines([f"{server.address} has no jobs of regrow's"])
        return
    rows = [
        (
            one.id,
            one.status.lower(),
            duration(one.ended - one.started) if one.ended and one.started else "",
            one.message,
        )
        for one in found
    ]
    write_table(("JOB", "STATUS", "TOOK", "RAY SAYS"), rows)


@contextmanager
def _sent(request: AnyRequest, notify: Notify | None, *, with_code: bool) -> Iterator[Path]:
    """Yield a folder of what is sent: the job with all its places in full, and regrow's own code."""
    told = {"notify": msgspec.to_builtins(notify)} if notify else {}
    from jobs.runs.record import kind_of  # noqa: PLC0415  with pipelines

    with TemporaryDirectory(prefix="regrow-job-") as name:
        folder = Path(name)
        (folder / JOB).write_bytes(
            msgspec.json.format(
                msgspec.json.encode({"kind": kind_of(request), **msgspec.to_builtins(request), **told}), indent=1
            )
        )
        for package in PACKAGES if with_code else ():
            found = find_spec(package)
            if found is None or found.origin is None:
                raise InputError(f"the package {package} of regrow is not to be found: install regrow anew")
            shutil.copytree(Path(found.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


def _environment() -> dict[str, str]:
    """Return what a job compares its own Ray and Python with where it runs, and how it is to log."""
    from clusters.logs import LOG  # noqa: PLC0415
    from clusters.versions import CLIENT, versions_here  # noqa: PLC0415

    form = os.environ.get(LOG)
    return {CLIENT: versions_here().tag, **({LOG: form} if form else {})}
