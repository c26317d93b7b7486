"""What a cluster is said to have: groups of like nodes, which of them is the head, what they cost."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from clusters.machine import Machine

Provider = Literal["local", "aws", "kuberay"]
Count = Annotated[int, Meta(ge=0)]
Price = Annotated[float, Meta(ge=0)]

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|ACCESS_KEY", re.IGNORECASE)


class Toleration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A taint of Kubernetes that pods of a group put up with; without a value, whatever its value is."""

    key: str
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class NodeGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that are alike, and how many of them there may be.

    `cpus` and `memory` are what Ray may use: of a pod its limits, of a machine all of it. `instance` and `disk` are for
    AWS; `selector`, `tolerations` for Kubernetes. `price_per_hour` is of one node.
    """

    name: str
    cpus: Annotated[int, Meta(ge=1)]
    memory: str
    gpus: Count = 0
    accelerator: str = ""
    min: Count = 1
    max: Count | None = None
    spot: bool = False
    price_per_hour: Price = 0.0
    instance: str = ""
    disk: str = "200GiB"
    selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        bytes_of(self.memory, f"memory of group {self.name}")
        bytes_of(self.disk, f"disk of group {self.name}")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"group {self.name} has min {self.min} and max {self.max}: max is no less than min")

    @property
    def memory_bytes(self) -> int:
        """Memory of one node, in bytes."""
        return bytes_of(self.memory, "memory")

    @property
    def most(self) -> int:
        """How many nodes there may be; where none is said, as many as at least."""
        return self.min if self.max is None else self.max

    @property
    def machine(self) -> Machine:
        """One node, as budgets see it."""
        return Machine(cpus=self.cpus, gpus=self.gpus, memory_bytes=self.memory_bytes)


class Cluster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster: `head` names the group of which one node runs Ray's head and the drivers of jobs.

    `head_works`: whether that node takes chunks as well; by default only a local one does. `address` is where Ray
    clients connect, `dashboard` where jobs are submitted. `threads` of each actor are found by the budget unless given.
    In `image`, {regrow}, {ray} and {python} stand for versions. `environment` reaches every node; `env_secret` and
    `token_secret` name Secrets of Kubernetes, `service_account` an account, `claims` volume claims and their mounts;
    `region`, `machine_image` and `instance_profile` are for AWS.
    """

    name: str
    provider: Provider
    groups: tuple[NodeGroup, ...]
    head: str
    head_works: bool | None = None
    address: str = ""
    dashboard: str = ""
    currency: str = "USD"
    threads: Annotated[int, Meta(ge=1)] | None = None
    idle_minutes: Annotated[int, Meta(ge=1)] = 5
    image: str = ""
    environment: dict[str, str] = {}
    namespace: str = "default"
    token_secret: str = "regrow-ray-token"  # noqa: S105  the name of a secret, not one
    env_secret: str = ""
    service_account: str = ""
    claims: dict[str, str] = {}
    region: str = ""
    machine_image: str = ""
    instance_profile: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        names = [group.name for group in self.groups]
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise ValueError(f"two groups are called {twice}: give each its own name")
        if self.head not in names:
            raise ValueError(f"head is {self.head!r}: name one of the groups, {', '.join(names) or 'of which none is'}")
        secret = next((name for name in self.environment if _SECRET.search(name)), None)
        if secret is not None:
            raise ValueError(
                f"environment has {secret}, which would stand in files for all to read: give nodes a role, or on "
                "Kubernetes name a Secret with it in env_secret"
            )
        _CHECKS[self.provider](self)

    @property
    def head_group(self) -> NodeGroup:
        """The group of which one node is the head."""
        return next(group for group in self.groups if group.name == self.head)

    @property
    def works_on_head(self) -> bool:
        """Whether the head takes chunks as well."""
        return self.provider == "local" if self.head_works is None else self.head_works

    @property
    def workers(self) -> tuple[NodeGroup, ...]:
        """The groups whose nodes take work."""
        return tuple(group for group in self.groups if group.name != self.head or self.works_on_head)


def bytes_of(text: str, what: str) -> int:
    """Return the bytes of such as `64GiB` or `1.5TiB`. Raises ValueError, which names `what` it is of."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]iB)", text)
    if not found or not float(found[1]):
        raise ValueError(f"{what} is {text!r}: write a number with MiB, GiB or TiB, such as 64GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 30:
        raise ValueError(
            f"name is {name!r}: write at most 30 small letters, digits and hyphens, a letter first and no hyphen last"
        )


def _check_local(cluster: Cluster) -> None:
    for group in cluster.groups:
        if group.most != group.min:
            raise ValueError(
                f"group {group.name} has min {group.min} and max {group.most}, but nothing adds machines to a local "
                "cluster: write the same number"
            )
        if group.spot:
            raise ValueError(f"group {group.name} is spot, which local machines are not: remove spot")


def _check_autoscaling(cluster: Cluster) -> None:
    head = cluster.head_group
    if (head.min, head.most) != (1, 1):
        raise ValueError(f"group {head.name} has min {head.min} and max {head.most}, but there is one head: write 1")
    if head.spot:
        raise ValueError(f"group {head.name} is spot, and the loss of a head ends every job: remove spot")
    for group in cluster.groups:
        if group.max is None and group is not head:
            raise ValueError(
                f"group {group.name} has min {group.min} and no max: nodes, and their cost, would be added without "
                "end, and a pool of actors needs a finite size; write max"
            )


def _check_aws(cluster: Cluster) -> None:
    _check_autoscaling(cluster)
    if not cluster.region:
        raise ValueError("region is missing: write one of AWS, such as us-east-1")
    for group in cluster.groups:
        if not group.instance:
            raise ValueError(f"group {group.name} has no instance: write a type of AWS, such as g5.2xlarge")


def _check_kuberay(cluster: Cluster) -> None:
    _check_autoscaling(cluster)
    head = cluster.head_group
    if cluster.works_on_head or head.gpus:
        said = f"has {head.gpus} GPUs" if head.gpus else "is to take work (head_works)"
        raise ValueError(
            f"head group {head.name} {said}, and on Kubernetes a head that runs out of memory takes the whole run with "
            "it: leave work and GPUs to other groups"
        )
    for group in cluster.groups:
        if group.spot and not (group.tolerations or group.selector):
            raise ValueError(
                f"group {group.name} is spot, of which Kubernetes itself knows nothing: write the selector or the "
                "tolerations of your spot nodes"
            )
    wrong = next((path for path in cluster.claims.values() if not path.startswith("/")), None)
    if wrong is not None:
        raise ValueError(f"claims has the mount {wrong!r}: write a path from /, such as /archives")


_CHECKS = {"local": _check_local, "aws": _check_aws, "kuberay": _check_kuberay}
