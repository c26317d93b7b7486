"""Files that start clusters are what Ray, Kubernetes and KubeRay read, as far as that can be known offline."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import msgspec
import pytest
import ray
import yaml
from msgspec.structs import replace

from clusters.budget import store_bytes
from clusters.image import image_name
from clusters.kuberay import job_name, ray_cluster, ray_job
from clusters.kubernetes import ConfigMap, RayCluster, RayJob
from clusters.ray_up import check_ray_up, ray_up
from clusters.stages import PLANNED, budget_for_planned, staged
from clusters.versions import Versions, versions_here
from jobs.cli import run
from jobs.clusters import emitted, read_cluster
from tests.test_clusters import told

ROOT = Path(__file__).parents[1]
RAY_SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
HERE = versions_here()
JOB = "kind: archive\nsource: s3://bucket/photos\narchive: s3://bucket/photos.regrow\ncodec: nano-x16\n"


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a mapping with these fields and no other."""
    fields = required | (optional or {})
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


# Written by hand from ray-operator/apis/ray/v1 of KubeRay, not from clusters/kubernetes.py: what regrow uses of it.
TEXT, WHOLE, TRUTH = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
META = closed({"name": NAME | {"maxLength": 47}, "namespace": NAME}, {"labels": TEXTS})
TEMPLATE = closed(
    {"spec": {"type": "object"}}, {"metadata": closed({}, {"labels": TEXTS})}
)  # kubernetes-validate's part
GROUP = closed(
    {
        "groupName": NAME, "replicas": WHOLE, "minReplicas": WHOLE, "maxReplicas": WHOLE, "rayStartParams": TEXTS,
        "template": TEMPLATE,
    },
    {"idleTimeoutSeconds": WHOLE, "labels": TEXTS, "priority": WHOLE},
)  # fmt: skip
CLUSTER_SPEC = closed(
    {
        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "enableInTreeAutoscaling": {"const": True},
        "autoscalerOptions": closed({"version": {"enum": ["v1", "v2"]}, "idleTimeoutSeconds": WHOLE}),
        "authOptions": closed({"mode": {"enum": ["token", "disabled"]}, "secretName": NAME}),
        "headGroupSpec": closed({"rayStartParams": TEXTS, "template": TEMPLATE}),
        "workerGroupSpecs": {"type": "array", "minItems": 1, "items": GROUP},
    }
)
JOB_SPEC = closed(
    {
        "entrypoint": TEXT, "jobId": TEXT, "rayClusterSpec": CLUSTER_SPEC, "shutdownAfterJobFinishes": TRUTH,
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        "ttlSecondsAfterFinished": WHOLE, "backoffLimit": WHOLE,
    }
)  # fmt: skip
SCHEMAS = {
    kind: closed({"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": META, "spec": spec})
    for kind, spec in (("RayCluster", CLUSTER_SPEC), ("RayJob", JOB_SPEC))
}


def check_manifest(document: dict[str, Any]) -> None:
    """Raise what is wrong with a manifest: by KubeRay's fields, and by Kubernetes' own schema of pods."""
    if document["kind"] not in SCHEMAS:
        kubernetes_validate.validate(document, "1.34", strict=True)
        return
    jsonschema.validate(document, SCHEMAS[document["kind"]])
    spec = document["spec"]
    spec = spec.get("rayClusterSpec", spec)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, "1.34", strict=True)


@pytest.fixture
def job(tmp_path: Path) -> str:
    (tmp_path / "archive.yaml").write_text(JOB)
    return str(tmp_path / "archive.yaml")


def documents(name: str, form: Any, job: str | None = None) -> list[Any]:
    return list(yaml.safe_load_all(emitted(name, form, job)))


def test_the_file_for_ray_up_is_valid_by_rays_schema_and_a_typo_is_not() -> None:
    (document,) = documents("aws-autoscaling", "ray-up")
    jsonschema.validate(document, RAY_SCHEMA)
    check_ray_up(document)
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        jsonschema.validate(document | {"max_wrokers": 3}, RAY_SCHEMA)
    wrong = copy.deepcopy(document)
    del wrong["available_node_types"]["gpu"]["resources"]
    with pytest.raises(jsonschema.ValidationError, match="'resources' is a required property"):
        jsonschema.validate(wrong, RAY_SCHEMA)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.update(head_node_type="boss"), "head_node_type is 'boss': there are head, cpu, gpu"),
        (lambda file: file["available_node_types"]["gpu"].update(min_workers=13), "min_workers are 13 in all and max_"),
        (lambda file: file["available_node_types"]["gpu"]["resources"].update(CPU=7.5), "resource CPU of gpu is 7.5"),
    ],
)  # fmt: skip
def test_what_rays_schema_lets_pass_of_a_file_for_ray_up_is_refused(change: Any, said: str) -> None:
    (document,) = documents("aws-autoscaling", "ray-up")
    change(document)
    with pytest.raises(ValueError, match=said):
        check_ray_up(document)


def test_nodes_on_aws_share_a_token_have_room_for_the_store_and_are_on_spot_where_said() -> None:
    (document,) = documents("aws-autoscaling", "ray-up")
    types = document["available_node_types"]
    assert document["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for command in (document["head_start_ray_commands"][-1], document["worker_start_ray_commands"][-1]):
        assert command.startswith("export RAY_AUTH_MODE=token ")
    assert types["head"]["resources"]["CPU"] == 0
    assert (types["head"]["max_workers"], document["max_workers"]) == (0, 12)
    assert [name for name, kind in types.items() if "InstanceMarketOptions" in kind["node_config"]] == ["gpu"]
    shm = next(option for option in document["docker"]["run_options"] if option.startswith("--shm-size="))
    store = max(kind["resources"]["object_store_memory"] for kind in types.values())
    assert int(shm.removeprefix("--shm-size=").rstrip("b")) > store
    assert document["docker"]["image"] == f"rayproject/ray:{HERE.tag}-gpu"
    with_image = ray_up(replace(read_cluster("aws-autoscaling"), image="me/regrow:1"), HERE, "0.1.0")
    assert with_image["docker"]["image"] == "me/regrow:1"
    assert not any("pip install" in command for command in with_image["setup_commands"])


def test_manifests_are_what_kuberay_and_kubernetes_read_and_a_typo_is_not(job: str) -> None:
    (standing,) = documents("kuberay", "ray-cluster")
    file, running = documents("kuberay", "ray-job", job)
    for document in (standing, file, running):
        check_manifest(document)
    with pytest.raises(jsonschema.ValidationError, match="rayVerison"):
        check_manifest(standing | {"spec": standing["spec"] | {"rayVerison": "2.60.0"}})
    pod = standing["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    pod["containers"][0]["volumeMount"] = pod["containers"][0].pop("volumeMounts")
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        check_manifest(standing)


def test_a_manifest_is_read_back_as_the_model_that_it_was_written_from(job: str) -> None:
    cluster = read_cluster("kuberay")
    whole = replace(
        cluster, claims={"archives": "/archives"}, env_secret="store", service_account="regrow",
        environment={"AWS_REGION": "eu-central-1"},
    )  # fmt: skip
    for one in (cluster, whole):
        for model in (ray_cluster(one, HERE, "0.1.0"), *ray_job(one, HERE, "0.1.0", "archive", JOB)):
            text = yaml.safe_dump(msgspec.to_builtins(model))
            assert msgspec.convert(yaml.safe_load(text), type(model)) == model
            check_manifest(yaml.safe_load(text))
    (standing,) = documents("kuberay", "ray-cluster")
    assert msgspec.convert(standing, RayCluster) == ray_cluster(cluster, HERE, regrow_version())
    file, running = documents("kuberay", "ray-job", job)
    assert (msgspec.convert(file, ConfigMap), msgspec.convert(running, RayJob)) == ray_job(
        cluster, HERE, regrow_version(), "archive", JOB
    )


def regrow_version() -> str:
    from ops.stack import regrow_version as installed  # noqa: PLC0415

    return installed()


def test_a_cluster_on_kubernetes_keeps_work_off_its_head_and_strangers_out() -> None:
    (document,) = documents("kuberay", "ray-cluster")
    spec, described = document["spec"], read_cluster("kuberay")
    head, groups = spec["headGroupSpec"], {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert spec["authOptions"] == {"mode": "token", "secretName": "regrow-ray-token"}
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert set(groups) == {"cpu", "gpu"}
    gpu = groups["gpu"]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert [one["key"] for one in gpu["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
    assert "tolerations" not in groups["cpu"]["template"]["spec"]
    for group in described.groups:
        pod = (head if group.name == "head" else groups[group.name])["template"]["spec"]
        limit = next(one["emptyDir"]["sizeLimit"] for one in pod["volumes"] if one["name"] == "shared-memory")
        assert int(limit.removesuffix("Mi")) << 20 > store_bytes(group.machine)
        assert {one["mountPath"] for one in pod["containers"][0]["volumeMounts"]} == {"/dev/shm"}
        assert pod["restartPolicy"] == "Never", "autoscaler v2 takes a pod for a node"
        assert pod["containers"][0]["image"].endswith(f"ray{spec['rayVersion']}-py{HERE.python.replace('.', '')}")


@pytest.mark.parametrize("name", ["aws-autoscaling", "kuberay"])
def test_drivers_on_an_emitted_cluster_make_their_pools_for_its_most_nodes(name: str) -> None:
    (document,) = documents(name, "ray-up" if name == "aws-autoscaling" else "ray-cluster")
    if name == "kuberay":
        container = document["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
        text = next(one["value"] for one in container["env"] if one["name"] == PLANNED)
    else:
        text = document["head_start_ray_commands"][-1].partition(f"{PLANNED}='")[2].partition("'")[0]
    assert budget_for_planned(text, accelerated=True) == staged(read_cluster(name), "max").budget


def test_a_job_on_kubernetes_is_one_file_that_runs_once_for_its_name(job: str, tmp_path: Path) -> None:
    file, running = documents("kuberay", "ray-job", job)
    name = running["metadata"]["name"]
    assert file["data"]["job.yaml"] == JOB
    assert (file["metadata"]["name"], running["spec"]["jobId"]) == (name, name)
    pod = running["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mount = next(one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "job")
    # KubeRay tries again after every exit status but 0, so a run that came to its end has that.
    assert running["spec"]["entrypoint"] == f"regrow run {mount['mountPath']}/job.yaml --some-may-fail"
    assert running["spec"]["backoffLimit"] == 1
    assert {"name": "job", "configMap": {"name": name}} in pod["volumes"]
    assert emitted("kuberay", "ray-job", job) == emitted("kuberay", "ray-job", job)
    cluster = read_cluster("kuberay")
    assert name == job_name(cluster, "archive", JOB)
    names = {name, job_name(cluster, "archive", JOB + "#"), job_name(replace(cluster, name="other"), "archive", JOB)}
    assert len(names) == 3
    assert len(job_name(replace(cluster, name="x" * 30), "reconstruct", JOB)) <= 47


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JOB.replace("s3://bucket/photos\n", "photos\n"), "source is photos, a path of this machine that pods"),
        (JOB.replace("s3://bucket/photos\n", "file:///photos\n"), "source is file:///photos, a path of this machine"),
        (JOB + "weights: [nano.safetensors]\n", "weights is nano.safetensors, a path of this machine"),
        (JOB + "score: {protocol: mine.yaml}\n", "mine.yaml"),
        (JOB + "address: ray://head:10001\n", "address is ray://head:10001, and the job would leave its cluster"),
        (JOB.replace("archive\ns", "archve\ns"), "kind is 'archve' (did you mean archive?)"),
    ],
)  # fmt: skip
def test_a_job_that_pods_could_not_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "job.yaml").write_text(text)
    status = run(["cluster", "emit", "kuberay", str(tmp_path / "job.yaml"), "--as", "ray-job"])
    found = capsys.readouterr()
    assert (status in {1, 2}, found.out, found.err.count("\n")) == (True, "", 1)
    assert said in found.err


def test_paths_below_a_volume_claim_are_good_for_pods(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB.replace("s3://bucket/", "/archives/"))
    description = (ROOT / "clusters" / "kuberay.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(description.replace("# claims:", "claims:"))
    _, running = documents(str(tmp_path / "mine.yaml"), "ray-job", str(tmp_path / "job.yaml"))
    check_manifest(running)
    for group in running["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert "/archives" in {one["mountPath"] for one in group["template"]["spec"]["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kuberay", "--as", "ray-up"], "kuberay: provider is kuberay, and ray-up is written for aws"),
        (["laptop", "--as", "ray-cluster"], "laptop: provider is local, and these manifests are written for kuberay"),
        (["kuberay", "--as", "ray-job"], "ray-job wants a job file: regrow cluster emit NAME JOB.yaml --as ray-job"),
        (["kuberay", "job.yaml", "--as", "dockerfile"], "dockerfile takes no job file: regrow cluster emit NAME --as"),
    ],
)  # fmt: skip
def test_forms_that_a_cluster_does_not_have_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert told(capsys, "emit", *arguments).startswith(said)


def test_an_image_of_other_versions_is_refused_and_one_without_versions_is_taken() -> None:
    cluster, here = read_cluster("kuberay"), Versions(ray="2.60.0", python="3.12")
    assert image_name(cluster, here, "0.1.0") == "registry.example.com/regrow:0.1.0-ray2.60.0-py312"
    assert image_name(replace(cluster, image="me/regrow:prod"), here, "0.1.0") == "me/regrow:prod"
    with pytest.raises(
        ValueError, match=r"image me/regrow:ray2.58.0-py311: the cluster runs Ray 2.58.0 on Python 3.11"
    ):
        ray_cluster(replace(cluster, image="me/regrow:ray2.58.0-py311"), here, "0.1.0")
    with pytest.raises(ValueError, match=r"in braces there may be \{regrow\}, \{ray\} and \{python\}"):
        image_name(replace(cluster, image="me/regrow:{tag}"), here, "0.1.0")
    with pytest.raises(ValueError, match="image is missing, and Kubernetes pulls one"):
        ray_cluster(replace(cluster, image=""), here, "0.1.0")


@pytest.mark.parametrize(("name", "kind"), [("laptop", "cpu"), ("kuberay", "gpu")])
def test_the_image_is_made_from_the_checkout_on_the_clients_ray_and_python(
    tmp_path: Path, name: str, kind: str
) -> None:
    out = tmp_path / "Dockerfile"
    assert run(["cluster", "emit", name, "--as", "dockerfile", "--output", str(out)]) == 0
    lines = out.read_text().splitlines()
    assert f"FROM rayproject/ray:{HERE.tag}-{kind}" in lines
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]]
    assert {"constraints.txt", "pyproject.toml", "ops", "jobs"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists(), path
    assert f"'ray[data,default]=={HERE.ray}'" in out.read_text()
    assert "USER root" not in lines


def test_nothing_that_is_emitted_holds_a_secret(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "5eC5e7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "5eC5e7")
    for name, form, file in (
        ("aws-autoscaling", "ray-up", None), ("kuberay", "ray-cluster", None), ("kuberay", "ray-job", job),
        ("kuberay", "dockerfile", None),
    ):  # fmt: skip
        assert "5eC5e7" not in emitted(name, form, file)
