"""A cluster on AWS as the file that `ray up` reads."""

from collections.abc import Mapping
from shlex import quote
from typing import Any

from clusters.budget import store_bytes
from clusters.description import Cluster, NodeGroup, bytes_of
from clusters.image import image_name, ray_image
from clusters.stages import PLANNED, check_fits, planned_text
from clusters.versions import Versions

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105  a path
# A folder of the client with regrow's wheel and constraints.txt, for nodes whose image has no regrow.
WHEELS = "/tmp/regrow-wheels"  # noqa: S108  on the nodes, which are the cluster's alone
_START = "ulimit -n 65536; ray start"


def ray_up(cluster: Cluster, versions: Versions, regrow: str) -> dict[str, Any]:
    """Return the document of `ray up`, whose autoscaler is Ray's second.

    Raises ValueError for a cluster that is not on AWS, CannotFit for one that holds no actor.
    """
    if cluster.provider != "aws":
        raise ValueError(f"provider is {cluster.provider}, and ray-up is written for aws")
    check_fits(cluster)
    document = {
        "cluster_name": cluster.name,
        "max_workers": sum(group.most for group in cluster.groups if group.name != cluster.head),
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": cluster.idle_minutes,
        "provider": {"type": "aws", "region": cluster.region, "cache_stopped_nodes": False},
        "auth": {"ssh_user": "ubuntu"},
        "docker": _docker(cluster, versions, regrow),
        "head_node_type": cluster.head,
        "available_node_types": {group.name: _node_type(cluster, group) for group in cluster.groups},
        # Every node has the client's token, or it could not join, nor could the client submit.
        "file_mounts": {TOKEN_FILE: TOKEN_FILE} | ({} if cluster.image else {WHEELS: "dist"}),
        "setup_commands": _setup(cluster, versions, regrow),
        "head_start_ray_commands": [
            "ray stop",
            f"{_exports(cluster, head=True)}; {_START} --head --port=6379 --object-manager-port=8076 "
            "--autoscaling-config=~/ray_bootstrap_config.yaml --dashboard-host=127.0.0.1",
        ],
        "worker_start_ray_commands": [
            "ray stop",
            f"{_exports(cluster, head=False)}; {_START} --address=$RAY_HEAD_IP:6379 --object-manager-port=8076",
        ],
    }
    check_ray_up(document)
    return document


def check_ray_up(document: Mapping[str, Any]) -> None:
    """Raise ValueError for what Ray's schema lets pass, and Ray refuses later or never.

    The head's type is one of those there are, workers that always stand are no more than may stand, and resources are
    whole numbers.
    """
    types, head = document["available_node_types"], document["head_node_type"]
    if head not in types:
        raise ValueError(f"head_node_type is {head!r}: there are {', '.join(types)}")
    least, most = sum(kind.get("min_workers", 0) for kind in types.values()), document["max_workers"]
    if least > most:
        raise ValueError(f"min_workers are {least} in all and max_workers {most}: some would never start")
    for name, kind in types.items():
        for resource, amount in kind["resources"].items():
            if isinstance(amount, bool) or not isinstance(amount, int):
                raise ValueError(f"resource {resource} of {name} is {amount!r}: write a whole number")


def _node_type(cluster: Cluster, group: NodeGroup) -> dict[str, Any]:
    is_head = group.name == cluster.head
    store = store_bytes(group.machine)
    resources = {
        # A head without processors gets drivers, and no chunk that could take its memory.
        "CPU": group.cpus if cluster.works_on_head or not is_head else 0,
        "GPU": group.gpus,
        "memory": group.memory_bytes - store,
        "object_store_memory": store,
    }
    return {
        "min_workers": 0 if is_head else group.min,
        "max_workers": 0 if is_head else group.most,
        "resources": {name: amount for name, amount in resources.items() if amount or name == "CPU"},
        "node_config": _node_config(cluster, group),
    }


def _node_config(cluster: Cluster, group: NodeGroup) -> dict[str, Any]:
    disk = {"VolumeSize": bytes_of(group.disk, "disk") >> 30, "VolumeType": "gp3"}
    config: dict[str, Any] = {
        "InstanceType": group.instance,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
    }
    if cluster.machine_image:
        config["ImageId"] = cluster.machine_image
    if cluster.instance_profile:
        config["IamInstanceProfile"] = {"Arn": cluster.instance_profile}
    if group.spot:
        config["InstanceMarketOptions"] = {"MarketType": "spot"}
    return config


def _docker(cluster: Cluster, versions: Versions, regrow: str) -> dict[str, Any]:
    image = image_name(cluster, versions, regrow) if cluster.image else ray_image(cluster, versions)
    largest = max(store_bytes(group.machine) for group in cluster.groups)
    return {
        "image": image,
        "container_name": "regrow",
        "pull_before_run": True,
        # The object store lies in it; docker's own 64 MB would send it to the disk.
        "run_options": [f"--shm-size={largest * 11 // 10}b", "--ulimit nofile=65536:65536"],
    }


def _setup(cluster: Cluster, versions: Versions, regrow: str) -> list[str]:
    wheel = f"{WHEELS}/regrow-{regrow}-py3-none-any.whl[ray,codecs,formats]"
    install = [
        f"pip install -q -c {WHEELS}/constraints.txt 'ray[data,default]=={versions.ray}' '{wheel}'",
        "regrow weights pull --quiet",
    ]
    proof = (
        'python -c "import ray, sys; '
        f"assert (ray.__version__, '%d.%d' % sys.version_info[:2]) == ('{versions.ray}', '{versions.python}')\""
    )
    return [*([] if cluster.image else install), proof, f"chmod 600 {TOKEN_FILE}"]


def _exports(cluster: Cluster, *, head: bool) -> str:
    values = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"} | cluster.environment
    if head:
        values[PLANNED] = planned_text(cluster)
    return "export " + " ".join(f"{name}={quote(value)}" for name, value in values.items())
