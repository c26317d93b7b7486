"""A Kubernetes CronJob (batch/v1) that calls a schedule's tick, with its files in a ConfigMap."""

import hashlib
import posixpath
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from jobs.errors import UsageError
from jobs.notifying import refuse_written_out
from jobs.requests import AnyRequest
from jobs.schedules.emitting.fields import fields_of, moved_ticks
from jobs.schedules.notifying import notify_of
from jobs.schedules.schedule import Schedule, Scheduled
from jobs.schedules.ticking import STOP_SECONDS
from jobs.spec import parse_job, request_within
from ops.stack import regrow_version
from ops.stores import open_store
from ops.stores.routing import scheme_of

_FOLDER = "/etc/regrow"
# Kubernetes adds eleven characters to a CronJob's name, of 63 that a label may have.
_MOST_NAME = 52
_STOP_SECONDS = int(sum(STOP_SECONDS)) + 45
_MOST_BYTES = 900_000


class _Block(str):
    """Text of several lines, written as such."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes blocks of text readably."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  one object in two places is written twice
        return True


_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))

# A pod that its node has lost or pushed out: no failure of the run.
_DISRUPTED = {"type": "DisruptionTarget", "status": "True"}


def cronjob(scheduled: Scheduled, image: str | None = None, namespace: str | None = None) -> dict[str, str]:
    """Return the manifest, of two documents, by a name for its file.

    Raises UsageError where the job names a path that would begin elsewhere in a pod, or does not fit a ConfigMap.
    """
    refuse_written_out(notify_of(scheduled))
    name = _kubernetes_name(scheduled.name)
    meta: dict[str, Any] = {"name": name, "labels": {"app.kubernetes.io/name": "regrow"}}
    if namespace:
        meta["namespace"] = namespace
    files = {"schedule.yaml": _Block(_schedule_text(scheduled))}
    if isinstance(scheduled.schedule.job, str):
        files["job.yaml"] = _Block(_job_text(scheduled))
    else:
        _check_places(scheduled, *(request_within(scheduled.schedule.job, folder) for folder in ("/a", "/b")))
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": _spec(scheduled, name, image)},
    ]
    text = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=1000)
    return {f"{name}.yaml": "".join(f"# {line}\n" for line in _notes(scheduled)) + text}


def _spec(scheduled: Scheduled, name: str, image: str | None) -> dict[str, Any]:
    deadline = scheduled.deadline_seconds()
    job: dict[str, Any] = {
        "backoffLimit": 0,  # retries are the schedule's own, and the next tick takes up what was cut off
        # A spot node that goes away is no failure: the pod is put elsewhere, and takes up its tick.
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [_DISRUPTED]}]},
        "template": {"spec": _pod(name, image)},
    }
    if deadline is not None:
        job["activeDeadlineSeconds"] = deadline + _STOP_SECONDS
    return {
        "schedule": fields_of(scheduled).cron(),
        "timeZone": scheduled.schedule.zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": _starting_deadline(scheduled),
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 5,
        "jobTemplate": {"spec": job},
    }


def _pod(name: str, image: str | None) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        "containers": [
            {
                "name": "regrow",
                "image": image or f"regrow:{regrow_version()}",
                "command": ["regrow", "schedule", "tick", posixpath.join(_FOLDER, "schedule.yaml")],
                "volumeMounts": [
                    {"name": "files", "mountPath": _FOLDER, "readOnly": True},
                    {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108  of the pod
                ],
            }
        ],
        "volumes": [
            {"name": "files", "configMap": {"name": name}},
            # Ray's object store lies there, for which a container's 64 MB are too few.
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }


def _starting_deadline(scheduled: Scheduled) -> int:
    """Return how late Kubernetes may begin a tick: until the next, or within its grace. It looks every ten seconds."""
    gap = scheduled.shortest_gap(now := datetime.now(UTC))
    late = gap if scheduled.schedule.catch_up == "once" else scheduled.grace(next(scheduled.after(now)))
    return max(int(late.total_seconds()), 30)


def _schedule_text(scheduled: Scheduled) -> str:
    written = scheduled.schedule
    written = replace(written, job="job.yaml") if isinstance(written.job, str) else written
    fields = msgspec.structs.fields(Schedule)
    given = {
        field.name: getattr(written, field.name) for field in fields if field.default != getattr(written, field.name)
    }
    return yaml.safe_dump(given, sort_keys=False)


def _job_text(scheduled: Scheduled) -> str:
    content = open_store(scheduled.job).read(scheduled.job)
    if len(content) > _MOST_BYTES:
        raise UsageError(
            f"{scheduled.job} has {len(content):,} bytes, and a ConfigMap holds {_MOST_BYTES:,}: select by --where"
        )
    _check_places(scheduled, parse_job(content, "/a"), parse_job(content, "/b"))
    return content.decode()


def _check_places(scheduled: Scheduled, one: AnyRequest, other: AnyRequest) -> None:
    """Raise UsageError for what begins at the job's folder: it differs by where that is."""
    for name in one.__struct_fields__:
        if getattr(one, name) != getattr(other, name):
            raise UsageError(
                f"{scheduled.job}: {name} begins at the job's folder, which is another one in a pod: write it in full, "
                "as an absolute path of a volume or a URL"
            )


def _notes(scheduled: Scheduled) -> list[str]:
    notes = [f"Made by `regrow schedule emit` from {scheduled.file}."]
    local = [
        f"{name} {value}"
        for name in ("source", "archive", "destination", "target", "references", "keys_from")
        if isinstance(value := getattr(scheduled.request, name, None), str) and not scheme_of(value)
    ]
    if local:
        notes.append(f"Mount a volume for what lies on a disk: {', '.join(local)}.")
    if notify := notify_of(scheduled):
        notes.append(f"Put into the container's environment, from a Secret: {', '.join(notify.variables)}.")
    if not fields_of(scheduled).exact:
        notes.append("Kubernetes cannot say these days: it calls more often, and regrow runs what is due.")
    if moved_ticks(scheduled, datetime.now(UTC)):
        notes.append(
            "Kubernetes leaves out a tick in the hour that is skipped in spring; the next day's does its work."
        )
    return notes


def _kubernetes_name(name: str) -> str:
    found = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if not found or len(found) > _MOST_NAME:
        found = f"{found[: _MOST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".strip("-")
    return found
