"""A cluster on Kubernetes as KubeRay's RayCluster, and a job as its RayJob."""

import hashlib

from clusters.budget import store_bytes
from clusters.description import Cluster, NodeGroup
from clusters.image import image_name
from clusters.kubernetes import (
    AuthOptions,
    AutoscalerOptions,
    Claim,
    ConfigMap,
    Container,
    EmptyDir,
    EnvFrom,
    EnvVar,
    HeadGroup,
    Metadata,
    NameReference,
    PodLabels,
    PodSpec,
    PodTemplate,
    Port,
    RayCluster,
    RayClusterSpec,
    RayJob,
    RayJobSpec,
    Resources,
    Tolerated,
    Volume,
    VolumeMount,
    WorkerGroup,
)
from clusters.logs import LOG
from clusters.stages import PLANNED, check_fits, planned_text
from clusters.versions import Versions

JOB_FOLDER = "/etc/regrow"
# Kubernetes keeps a ConfigMap below 1 MiB.
JOB_BYTES = 900 << 10
# Another try is a new cluster, and takes up where the first was cut off, as when its head was lost. KubeRay tries again
# after every exit status but 0: of a run that came to its end, though images failed, another try would find the same.
RETRIES = 1
KEEP_SECONDS = 600
_LABELS = {"app.kubernetes.io/name": "regrow"}
_SHARED_MEMORY = VolumeMount(name="shared-memory", mount_path="/dev/shm")  # noqa: S108  Ray's object store lies there
_PORTS = (
    Port(container_port=6379, name="gcs-server"),
    Port(container_port=8265, name="dashboard"),
    Port(container_port=10001, name="client"),
)


def ray_cluster(cluster: Cluster, versions: Versions, regrow: str) -> RayCluster:
    """Return the manifest of a standing cluster.

    Raises ValueError for a cluster that is not on Kubernetes, or without an image that it could pull; CannotFit for one
    that holds no actor.
    """
    return RayCluster(
        api_version="ray.io/v1", kind="RayCluster",
        metadata=Metadata(name=cluster.name, namespace=cluster.namespace, labels=_LABELS),
        spec=_spec(cluster, versions, regrow, ()),
    )  # fmt: skip


def ray_job(cluster: Cluster, versions: Versions, regrow: str, kind: str, content: str) -> tuple[ConfigMap, RayJob]:
    """Return the manifests of a job file's `content`, whose `kind` becomes part of the name: the file, and its run.

    The name follows from file and cluster: applied twice, it is one run. Raises what ray_cluster raises, and ValueError
    for a job file that is too large.
    """
    if len(content.encode()) > JOB_BYTES:
        raise ValueError(
            f"the job file has {len(content.encode()):,} bytes, and Kubernetes takes {JOB_BYTES:,}: put its keys into "
            "a file that lies beside the archive, or match them by a pattern"
        )
    name = job_name(cluster, kind, content)
    metadata = Metadata(name=name, namespace=cluster.namespace, labels=_LABELS)
    mounted = (Volume(name="job", config_map=NameReference(name=name)),)
    run = RayJobSpec(
        entrypoint=f"regrow run {JOB_FOLDER}/job.yaml --some-may-fail", job_id=name, submission_mode="K8sJobMode",
        shutdown_after_job_finishes=True, ttl_seconds_after_finished=KEEP_SECONDS, backoff_limit=RETRIES,
        ray_cluster_spec=_spec(cluster, versions, regrow, mounted),
    )  # fmt: skip
    file = ConfigMap(api_version="v1", kind="ConfigMap", metadata=metadata, data={"job.yaml": content}, immutable=True)
    return file, RayJob(api_version="ray.io/v1", kind="RayJob", metadata=metadata, spec=run)


def job_name(cluster: Cluster, kind: str, content: str) -> str:
    """Return the name of a job on a cluster: the same for the same file. KubeRay takes 47 characters at most."""
    digest = hashlib.sha256(f"{cluster.name}\n{content}".encode()).hexdigest()[:10]
    return f"regrow-{kind}-{digest}"


def _spec(cluster: Cluster, versions: Versions, regrow: str, of_head: tuple[Volume, ...]) -> RayClusterSpec:
    if cluster.provider != "kuberay":
        raise ValueError(f"provider is {cluster.provider}, and these manifests are written for kuberay")
    if not cluster.image:
        raise ValueError(
            "image is missing, and Kubernetes pulls one: build it from `--as dockerfile` and write its name"
        )
    check_fits(cluster)
    image = image_name(cluster, versions, regrow)
    return RayClusterSpec(
        ray_version=versions.ray,
        enable_in_tree_autoscaling=True,
        autoscaler_options=AutoscalerOptions(version="v2", idle_timeout_seconds=60 * cluster.idle_minutes),
        auth_options=AuthOptions(mode="token", secret_name=cluster.token_secret),
        head_group_spec=_head(cluster, image, of_head),
        worker_group_specs=tuple(_workers(cluster, group, image) for group in cluster.workers),
    )


def _head(cluster: Cluster, image: str, volumes: tuple[Volume, ...]) -> HeadGroup:
    group = cluster.head_group
    # No processors for Ray: a driver and the cluster's own memory of itself must not share with chunks.
    params = {"num-cpus": "0", "dashboard-host": "0.0.0.0"} | _params(group)  # noqa: S104  within the cluster, by token
    return HeadGroup(ray_start_params=params, template=_template(cluster, group, image, volumes))


def _workers(cluster: Cluster, group: NodeGroup, image: str) -> WorkerGroup:
    return WorkerGroup(
        group_name=group.name, replicas=group.min, min_replicas=group.min, max_replicas=group.most,
        ray_start_params=_params(group), template=_template(cluster, group, image, ()),
    )  # fmt: skip


def _params(group: NodeGroup) -> dict[str, str]:
    return {"object-store-memory": str(store_bytes(group.machine))}


def _template(cluster: Cluster, group: NodeGroup, image: str, files: tuple[Volume, ...]) -> PodTemplate:
    is_head = group.name == cluster.head
    # The store is given its size; what else programs put there has a tenth of it.
    shared = EmptyDir(medium="Memory", size_limit=f"{(store_bytes(group.machine) * 11 // 10) >> 20}Mi")
    claims = tuple(
        Volume(name=f"claim-{at}", persistent_volume_claim=Claim(claim_name=name))
        for at, name in enumerate(cluster.claims)
    )
    mounts = tuple(VolumeMount(name=f"claim-{at}", mount_path=path) for at, path in enumerate(cluster.claims.values()))
    of_files = tuple(VolumeMount(name=file.name, mount_path=JOB_FOLDER, read_only=True) for file in files)
    container = Container(
        name="ray-head" if is_head else "ray-worker",
        image=image,
        image_pull_policy="IfNotPresent",
        resources=_resources(group),
        env=_environment(cluster, is_head=is_head),
        env_from=(EnvFrom(secret_ref=NameReference(name=cluster.env_secret)),) if cluster.env_secret else (),
        ports=_PORTS if is_head else (),
        volume_mounts=(_SHARED_MEMORY, *mounts, *of_files),
    )
    spec = PodSpec(
        containers=(container,),
        volumes=(Volume(name=_SHARED_MEMORY.name, empty_dir=shared), *claims, *files),
        restart_policy="Never",
        node_selector=group.selector,
        tolerations=_tolerations(group),
        service_account_name=cluster.service_account,
    )
    return PodTemplate(metadata=PodLabels(labels=_LABELS), spec=spec)


def _resources(group: NodeGroup) -> Resources:
    amounts = {"cpu": str(group.cpus), "memory": f"{group.memory_bytes >> 20}Mi"}
    if group.gpus:
        amounts["nvidia.com/gpu"] = str(group.gpus)
    return Resources(limits=amounts, requests=amounts)


def _environment(cluster: Cluster, *, is_head: bool) -> tuple[EnvVar, ...]:
    values = {"RAY_USAGE_STATS_ENABLED": "0", LOG: "text"} | cluster.environment
    if is_head:
        values[PLANNED] = planned_text(cluster)
    return tuple(EnvVar(name=name, value=value) for name, value in values.items())


def _tolerations(group: NodeGroup) -> tuple[Tolerated, ...]:
    # Nodes with GPUs usually repel pods that ask for none.
    gpus = (Tolerated(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),) if group.gpus else ()
    said = tuple(
        Tolerated(key=one.key, operator="Equal" if one.value else "Exists", value=one.value, effect=one.effect)
        for one in group.tolerations
        if not (group.gpus and one.key == "nvidia.com/gpu")
    )
    return (*gpus, *said)
