"""What regrow writes of Kubernetes' and KubeRay's documents, field for field: no other field can be written.

Sources: `ray.io/v1` of KubeRay 1.7 (ray-operator/apis/ray/v1), `v1` of Kubernetes. Quantities are text, as there.
"""

from typing import Literal

from msgspec import Struct, field


class Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A part of a document; a field that is left at its default is left out."""


class Metadata(Written, frozen=True):
    """Name and namespace, labels to find it by."""

    name: str
    namespace: str
    labels: dict[str, str] = {}


class PodLabels(Written, frozen=True):
    """Metadata of a pod that has no name of its own."""

    labels: dict[str, str] = {}


class EnvVar(Written, frozen=True):
    """An environment variable."""

    name: str
    value: str


class NameReference(Written, frozen=True):
    """The name of a Secret, a ConfigMap."""

    name: str


class EnvFrom(Written, frozen=True):
    """A Secret whose keys become environment variables."""

    secret_ref: NameReference


class Port(Written, frozen=True):
    """A port of a container."""

    container_port: int
    name: str


class Resources(Written, frozen=True):
    """What a container is given; requests equal limits, so that a node's memory is never promised twice."""

    limits: dict[str, str]
    requests: dict[str, str]


class VolumeMount(Written, frozen=True):
    """Where in a container a volume lies."""

    name: str
    mount_path: str
    read_only: bool = False


class EmptyDir(Written, frozen=True):
    """A folder that lives as long as its pod; in memory, with a limit, for Ray's object store."""

    medium: Literal["Memory"]
    size_limit: str


class Claim(Written, frozen=True):
    """A PersistentVolumeClaim."""

    claim_name: str


class Volume(Written, frozen=True):
    """A volume of a pod: one of the three."""

    name: str
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: Claim | None = None
    config_map: NameReference | None = None


class Tolerated(Written, frozen=True):
    """A taint that a pod puts up with."""

    key: str
    operator: Literal["Equal", "Exists"]
    value: str = ""
    effect: str = ""


class Container(Written, frozen=True):
    """The one container of a pod."""

    name: str
    image: str
    resources: Resources
    image_pull_policy: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[Port, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()


class PodSpec(Written, frozen=True):
    """A pod. It is not restarted: the second autoscaler takes each pod for one node of Ray."""

    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    restart_policy: Literal["Never"]
    node_selector: dict[str, str] = {}
    tolerations: tuple[Tolerated, ...] = ()
    service_account_name: str = ""


class PodTemplate(Written, frozen=True):
    """What the pods of a group are made from."""

    spec: PodSpec
    metadata: PodLabels = PodLabels()


class HeadGroup(Written, frozen=True):
    """The head's pod, and what `ray start` is told there."""

    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(Written, frozen=True):
    """Pods that are alike, and how many."""

    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int
    ray_start_params: dict[str, str]
    template: PodTemplate


class AuthOptions(Written, frozen=True):
    """Who may speak to the cluster: whoever has the Secret's `auth_token`."""

    mode: Literal["token"]
    secret_name: str


class AutoscalerOptions(Written, frozen=True):
    """Ray's second autoscaler, in a container beside the head."""

    version: Literal["v2"]
    idle_timeout_seconds: int


class RayClusterSpec(Written, frozen=True):
    """A cluster of Ray."""

    ray_version: str
    enable_in_tree_autoscaling: bool
    autoscaler_options: AutoscalerOptions
    auth_options: AuthOptions
    head_group_spec: HeadGroup
    worker_group_specs: tuple[WorkerGroup, ...]


class RayCluster(Written, frozen=True):
    """A cluster that stands until it is deleted."""

    api_version: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec


class RayJobSpec(Written, frozen=True):
    """One job on a cluster of its own, which goes when the job is done."""

    entrypoint: str
    job_id: str
    submission_mode: Literal["K8sJobMode"]
    shutdown_after_job_finishes: bool
    ttl_seconds_after_finished: int
    backoff_limit: int
    ray_cluster_spec: RayClusterSpec


class RayJob(Written, frozen=True):
    """A job, run once for its name."""

    api_version: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec


class ConfigMap(Written, frozen=True):
    """Small files for pods."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str] = field(default_factory=dict)
    immutable: bool = False
