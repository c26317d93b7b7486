"""Clusters by the name of a description that comes with regrow, or from a file; and the files made from them."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from posixpath import basename
from typing import Any, Literal

import msgspec
import yaml

import clusters
from clusters.description import Cluster
from clusters.image import dockerfile
from clusters.kuberay import ray_cluster, ray_job
from clusters.ray_up import ray_up
from clusters.stages import CannotFit, Nodes, Staged, staged
from clusters.versions import versions_here
from jobs.errors import UsageError
from jobs.notifying import notify_from, refuse_written_out
from jobs.strict_yaml import load_mapping, nearest, read_struct
from ops.archive.layout import SettingError
from ops.stack import regrow_version
from ops.stores import absolute, open_store
from ops.stores.routing import PathError, check_named, scheme_of

SHIPPED = Path(clusters.__file__).parent
Form = Literal["ray-up", "ray-cluster", "ray-job", "dockerfile"]
_PLACES = ("source", "archive", "destination", "target", "references", "weights")
# What to do with a file before it is of use.
_BEFORE_APPLYING = """\
# Once, a token that nodes and clients share:
#   kubectl -n {namespace} create secret generic {secret} --from-literal=auth_token="$(openssl rand -hex 32)"
# Then:  kubectl apply -f FILE
"""
_WHEEL = "# Once in a checkout of regrow:  pip wheel --no-deps -w dist . && cp constraints.txt dist/\n"
_HEADS: dict[str, str] = {
    "ray-up": "# Once, a token that nodes and clients share:  ray get-auth-token --generate > /dev/null\n",
    "ray-cluster": _BEFORE_APPLYING,
    "ray-job": _BEFORE_APPLYING,
}


class ClusterError(UsageError):
    """A cluster that is not there, cannot be understood, or cannot do what is asked; the message names it."""


def known_clusters() -> list[str]:
    """Return the names of the descriptions that come with regrow, those of one machine first."""
    found = {path.stem: read_cluster(path.stem) for path in SHIPPED.glob("*.yaml")}
    return sorted(found, key=lambda name: (found[name].provider != "local", sum(g.gpus for g in found[name].groups)))


def read_cluster(name_or_path: str) -> Cluster:
    """Return a cluster's description by its name, or from the YAML file at a path or URL.

    Raises ClusterError for an unknown name and for what is wrong in a file, OSError where it cannot be read.
    """
    check_named(name_or_path, "cluster")
    if "/" in name_or_path or basename(name_or_path).endswith((".yaml", ".yml")):
        return _decoded(name_or_path, open_store(absolute(name_or_path)).read(absolute(name_or_path)))
    known = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    if name_or_path not in known:
        near = nearest(name_or_path, known)
        raise ClusterError(f"no cluster {name_or_path!r}{near}: there are {', '.join(known)}, or name a .yaml file")
    return _decoded(name_or_path, (SHIPPED / f"{name_or_path}.yaml").read_bytes())


def staged_at(name: str, cluster: Cluster, nodes: Nodes) -> Staged:
    """Return what each stage takes of a cluster's least or most nodes. Raises ClusterError where it holds no actor."""
    try:
        return staged(cluster, nodes)
    except CannotFit as error:
        raise ClusterError(f"{name}: {error}") from error


def emitted(name: str, form: Form, job: str | None = None) -> str:
    """Return the text of a file for a cluster: `ray up`'s, a manifest of KubeRay's, or a Dockerfile.

    `job` is the path of the job file that a RayJob runs. The same input has the same text. Raises ClusterError where
    the cluster, the form and the job do not go together.
    """
    if (form == "ray-job") != (job is not None):
        raise ClusterError(f"{form} {'wants a job file' if job is None else 'takes no job file'}: {_usage(form)}")
    cluster = read_cluster(name)
    versions, regrow = versions_here(), regrow_version()
    try:
        if form == "dockerfile":
            return dockerfile(cluster, versions, regrow)
        if form == "ray-up":
            documents: Sequence[Any] = [ray_up(cluster, versions, regrow)]
        elif job is None:
            documents = [ray_cluster(cluster, versions, regrow)]
        else:
            documents = ray_job(cluster, versions, regrow, *_job_for(cluster, job))
    except ValueError as error:
        raise ClusterError(f"{name}: {error}") from error
    head = _HEADS[form].format(namespace=cluster.namespace, secret=cluster.token_secret)
    if form == "ray-up":
        head += ("" if cluster.image else _WHEEL) + "# Then:  ray up FILE\n"
    return f"# Made by: {_usage(form, name, job)}\n{head}{_yaml(documents)}"


def _usage(form: str, name: str = "NAME", job: str | None = None) -> str:
    file = f" {job or 'JOB.yaml'}" if form == "ray-job" else ""
    return f"regrow cluster emit {name}{file} --as {form}"


def _job_for(cluster: Cluster, job: str) -> tuple[str, str]:
    """Return the kind and the text of a job file, all of whose paths the pods of a cluster have."""
    from jobs.requests import address_of  # noqa: PLC0415  it brings pipelines with it
    from jobs.spec import KINDS, parse_job  # noqa: PLC0415

    raw = open_store(absolute(job)).read(absolute(job))
    try:
        content = raw.decode()
        request = parse_job(content)
        refuse_written_out(notify_from(load_mapping(content).get("notify")))
    except UnicodeDecodeError as error:
        raise ClusterError(f"{job}: not UTF-8: {error.reason} at byte {error.start}") from error
    except (UsageError, SettingError, PathError) as error:
        raise ClusterError(f"{job}: {error}") from error
    if (address := address_of(request)) is not None:
        raise ClusterError(f"{job}: address is {address}, and the job would leave its cluster: remove address")
    for name, place in _places(load_mapping(content), request):
        _check_place(cluster, job, name, place)
    return next(kind for kind, struct in KINDS.items() if isinstance(request, struct)), content


def _places(found: dict[str, Any], request: Any) -> Iterator[tuple[str, str]]:
    """Yield what in a job names a place, as the file has it, with its field."""
    for name in _PLACES:
        told = getattr(request, name, None)
        yield from ((name, place) for place in ((told,) if isinstance(told, str) else told or ()))
    score = found.get("score")
    for name, protocol in (("protocol", found.get("protocol")), ("score.protocol", (score or {}).get("protocol"))):
        if isinstance(protocol, str) and protocol.endswith((".yaml", ".yml")):
            yield name, protocol


def _check_place(cluster: Cluster, job: str, name: str, place: str) -> None:
    mounts = cluster.claims.values()
    if scheme_of(place) in {"", "file"} and not any(PurePosixPath(place).is_relative_to(mount) for mount in mounts):
        below = f", or a path below {' or '.join(mounts)}" if mounts else ""
        raise ClusterError(
            f"{job}: {name} is {place}, a path of this machine that pods do not have: write a URL such as "
            f"s3://bucket/photos{below}"
        )


def _decoded(where: str, content: bytes) -> Cluster:
    try:
        return read_struct(content, Cluster)
    except UsageError as error:
        raise ClusterError(f"{where}: {error}") from error


class _Plain(yaml.SafeDumper):
    """Writes the same mapping twice, not an anchor and an alias, and text of several lines as it is."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  PyYAML calls it so
        return True


_Plain.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _yaml(documents: Sequence[Any]) -> str:
    plain = [msgspec.to_builtins(document) for document in documents]
    return yaml.dump_all(plain, Dumper=_Plain, sort_keys=False, width=10_000, allow_unicode=True)
