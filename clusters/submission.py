"""Jobs on a cluster through Ray's job server, which is part of its dashboard: submit, list, follow, stop."""

import asyncio
import logging
import os
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from clusters.session import check_answers, prepare_environment
from clusters.versions import Versions, mismatch, versions_here

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
# They tell on stderr of packages and sockets.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
# Both would win over the address that was named.
_REDIRECTIONS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class AlreadySubmitted(ConnectionError):
    """A job of this id is on the cluster already."""


class Submitted(Struct, frozen=True, kw_only=True):
    """A job on a cluster. Times are seconds since 1970; `message` is what Ray says of its end."""

    id: str
    status: str
    message: str = ""
    started: float | None = None
    ended: float | None = None
    metadata: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        """Whether it runs no more."""
        return self.status in ENDED


class JobServer:
    """The job server of a cluster at `http://host:8265`.

    Raises ConnectionError where none answers, where it wants a token and none is here or another one, and where it runs
    another version of Ray.
    """

    def __init__(self, address: str) -> None:
        self.address = _http(address)
        check_answers(self.address)
        prepare_environment(local=False)
        with _not_redirected(), _told(self.address):
            from ray.job_submission import JobSubmissionClient  # noqa: PLC0415  with the environment set

            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            self._client = JobSubmissionClient(self.address, headers=_authorisation())
            self._client.list_jobs()  # the version is told to anybody, jobs only to who has the token
            ray = getattr(self._client, "_server_ray_version", None)
        if ray is not None and (wrong := mismatch(versions_here(), Versions(ray=ray, python=versions_here().python))):
            raise ConnectionError(f"{self.address}: {wrong}")

    def submit(self, job: str, entrypoint: str, folder: Path, environment: Mapping[str, str], **facts: str) -> None:
        """Start a job under an id, its working directory a copy of a folder. Raises AlreadySubmitted."""
        runtime = {"working_dir": str(folder), "env_vars": dict(environment)}
        with _told(self.address):
            try:
                self._client.submit_job(entrypoint=entrypoint, submission_id=job, runtime_env=runtime, metadata=facts)
            except RuntimeError as error:
                if "already exists" in str(error):
                    raise AlreadySubmitted(
                        f"{self.address} has a job {job} already: it is not started twice"
                    ) from error
                raise

    def jobs(self) -> list[Submitted]:
        """Return all jobs that were submitted, the newest last."""
        with _told(self.address):
            found = [_submitted(one) for one in self._client.list_jobs() if one.submission_id]
        return sorted(found, key=lambda one: one.started or 0.0)

    def find(self, job: str) -> Submitted:
        """Return a job by its id. Raises LookupError where there is none."""
        found = next((one for one in self.jobs() if one.id == job), None)
        if found is None:
            raise LookupError(f"{self.address} has no job {job}: `regrow job list` shows what there is")
        return found

    def log(self, job: str) -> str:
        """Return what a job has written so far."""
        with _told(self.address):
            return self._client.get_job_logs(job)

    def follow(self, job: str) -> Iterator[str]:
        """Yield what a job writes, from its beginning to its end."""
        lines = self._client.tail_job_logs(job)
        loop = asyncio.new_event_loop()
        try:
            with _told(self.address), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Ray's, of how it asks aiohttp
                while (text := loop.run_until_complete(_next(lines))) is not None:
                    yield text
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def stop(self, job: str) -> bool:
        """Ask a job to stop, as SIGTERM does; say whether it was running."""
        with _told(self.address):
            return self._client.stop_job(job)


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)


def _http(address: str) -> str:
    if address.startswith(("http://", "https://")):
        return address.rstrip("/")
    if "://" in address:
        raise ConnectionError(
            f"{address}: jobs are submitted to the dashboard: write its address, such as http://head:8265"
        )
    return f"http://{address}"


def _authorisation() -> dict[str, str]:
    """Return the header with the token of this user's clusters, as Ray itself looks for it; none without one."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    place = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip() or Path.home() / ".ray" / "auth_token")
    if not token and place.is_file():
        token = place.read_text("utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextmanager
def _not_redirected() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in _REDIRECTIONS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Have what Ray's client raises said in a line, as a ConnectionError."""
    from ray.exceptions import AuthenticationError  # noqa: PLC0415  slow to import

    try:
        yield
    except AuthenticationError as error:
        said = "wants a token" if not _authorisation() else "does not take the token that is here"
        raise ConnectionError(
            f"{address} {said}: put the cluster's into RAY_AUTH_TOKEN, or into a file named by RAY_AUTH_TOKEN_PATH"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        if isinstance(error, AlreadySubmitted):
            raise
        raise ConnectionError(f"{address}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _submitted(found: Any) -> Submitted:
    return Submitted(
        id=found.submission_id,
        status=str(getattr(found.status, "value", found.status)),
        message=found.message or "",
        started=None if found.start_time is None else found.start_time / 1000,
        ended=None if found.end_time is None else found.end_time / 1000,
        metadata=dict(found.metadata or {}),
    )
