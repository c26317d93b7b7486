"""Descriptions of clusters are read strictly, and what a run takes of one fits it."""

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clusters.budget import BYTES_PER_PIXEL, CHUNK_BYTES, RESERVE_BYTES, budget_for_nodes, store_bytes
from clusters.description import Cluster, NodeGroup
from clusters.machine import Machine
from clusters.session import WAIT, _budget_of_joined, waiting_seconds
from clusters.stages import PLANNED, CannotFit, Staged, budget_for_planned, planned_text, staged, worker_bytes
from clusters.versions import RAY, Versions, image_mismatch, mismatch, versions_here
from jobs.cli import run
from jobs.clusters import known_clusters, read_cluster

ROOT = Path(__file__).parents[1]
HEAD = "{name: head, cpus: 2, memory: 8GiB}"
KUBERAY = f"name: mine\nprovider: kuberay\nhead: head\nimage: mine\ngroups:\n  - {HEAD}\n"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a refused command says, in its one line."""
    assert run(["cluster", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err.removeprefix("regrow: ").rstrip()


@pytest.mark.parametrize("name", known_clusters())
def test_every_cluster_that_comes_with_regrow_is_read_and_runs_something(name: str) -> None:
    cluster = read_cluster(name)
    assert cluster.name == name
    budget = staged(cluster, "max").budget
    assert budget is not None
    assert budget.num_actors == max(1, sum(group.gpus * group.most for group in cluster.groups))


def test_the_clusters_cover_a_laptop_to_kubernetes_and_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(known_clusters()) == {"laptop", "workstation", "node-8gpu", "aws-autoscaling", "kuberay"}
    assert run(["cluster", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == known_clusters()


def test_a_cluster_is_shown_in_words_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "show", "kuberay"]) == 0
    shown = capsys.readouterr().out
    assert "at least        1 head + 1 cpu + 0 gpu, 0.50 USD per hour" in shown
    assert "none: a run waits for the first node with a GPU" in shown
    assert "at most         1 head + 4 cpu + 8 gpu, 4.20 USD per hour" in shown
    assert "8 (1 on each of 8 nodes of gpu), each 1 GPU and 6 threads" in shown
    assert run(["cluster", "show", "kuberay", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["min"]["budget"] is None
    assert document["max"]["budget"]["pixels_in_flight"] == 8 * 192_000_001
    assert document["max"]["price_per_hour"] == pytest.approx(0.2 + 4 * 0.3 + 8 * 0.35)


CPU, GPU = "  - {name: cpu, cpus: 8, ", "  - {name: gpu, cpus: 8, gpus: 1, memory: 32GiB, min: 0, max: 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KUBERAY + CPU + "memory: 8GiB, mx: 3}", r"unknown field groups\[1\].mx \(did you mean max\?\)"),
        (KUBERAY + CPU + "memory: 8GB}", "memory of group cpu is '8GB': write a number with MiB, GiB"),
        (KUBERAY + CPU + "memory: 8GiB, min: 0}", "group cpu has min 0 and no max: nodes, and their cost, would"),
        (KUBERAY + CPU + "memory: 8GiB, min: 3, max: 2}", "group cpu has min 3 and max 2: max is no less than min"),
        (KUBERAY + CPU + "memory: 8GiB, gpus: -1}", r"field groups\[1\].gpus is -1: write a whole number from 0"),
        (KUBERAY + GPU + ", spot: true}", "group gpu is spot, of which Kubernetes itself knows nothing: write"),
        (KUBERAY + GPU + "}\nhead_works: true", r"head group head is to take work \(head_works\), and on Kuber"),
        (KUBERAY + GPU + "}\nenvironment: {AWS_SECRET_ACCESS_KEY: x}", "environment has AWS_SECRET_ACCESS_KEY, which"),
        (KUBERAY + GPU + "}\nclaims: {archives: archives}", "claims has the mount 'archives': write a path from /"),
        (KUBERAY.replace("d: head", "d: gpu") + GPU + "}", "group gpu has min 0 and max 2, but there is one head"),
        (KUBERAY.replace("d: head", "d: boss"), "head is 'boss': name one of the groups, head"),
        (KUBERAY.replace("mine\np", "Mine\np"), "name is 'Mine': write at most 30 small letters"),
        (KUBERAY.replace("kuberay", "slurm"), 'field provider is "slurm": write aws, kuberay or local'),
        (KUBERAY.replace("kuberay", "aws"), "region is missing: write one of AWS"),
        (KUBERAY.replace("kuberay", "aws") + "region: us-east-1", "group head has no instance: write a type of AWS"),
        (KUBERAY.replace("kuberay", "local") + GPU + "}", "group gpu has min 0 and max 2, but nothing adds machines"),
        (KUBERAY + f"  - {HEAD}", "two groups are called head"),
        # What is read, and cannot run.
        (KUBERAY, "no group takes work: the head does none, and no other group has nodes"),
        (KUBERAY + GPU.replace("gpus: 1", "gpus: 8") + "}", "group gpu has 8 CPUs for 8 GPUs: each GPU wants one"),
        (KUBERAY + GPU.replace("32", "2") + "}", "group gpu has 2GiB a node, and needs 2.0 GiB: 0.5 for the object"),
        (KUBERAY + CPU + "memory: 1GiB, max: 2}", "group cpu has 1GiB a node, and needs 2.0 GiB: 0.5 for the object"),
        (KUBERAY + CPU + "memory: 1GiB, max: 2}\n" + GPU + "}", "group cpu has 1GiB a node, and needs 1.8 GiB: 0.5"),
        (KUBERAY + CPU + "memory: 16GiB, max: 4}\nthreads: 8", "4 actors of 8 CPUs book all 32 of 4 nodes, so that"),
        (KUBERAY + CPU + "memory: 16GiB, max: 4}\nthreads: 9", "threads is 9, and a node of group cpu has 8 CPUs for"),
        (KUBERAY + GPU + "}\nthreads: 9", "threads is 9, and a node of group gpu has 8 CPUs for an actor: write 8 or"),
        (KUBERAY + CPU.replace("8", "2") + "memory: 16GiB, max: 1}", "its actor can book none, so that Ray may put it"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_run_on_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    found = told(capsys, "show", str(tmp_path / "mine.yaml"))
    assert found.startswith(f"{tmp_path / 'mine.yaml'}: ")
    assert re.search(said, found), found


def test_a_cluster_that_is_not_there_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "show", "kubray").startswith("no cluster 'kubray' (did you mean kuberay?): there are aws-auto")
    assert run(["cluster", "show", "nowhere.yaml"]) == 1
    assert "No such file" in capsys.readouterr().err


SIZES = [1, 2, 3, 8, 40, 600]


@st.composite
def described(draw: st.DrawFn) -> Cluster:
    """Return clusters that read well, whether they can run anything or not."""
    provider = draw(st.sampled_from(["local", "aws", "kuberay"]))
    head_works = draw(st.booleans()) and provider != "kuberay"
    groups = []
    for at in range(draw(st.integers(1, 3))):
        most = draw(st.integers(0, 6))
        least = most if provider == "local" else draw(st.integers(0, most))
        groups.append(
            NodeGroup(
                name=f"g{at}", cpus=draw(st.integers(1, 100)), memory=f"{draw(st.sampled_from(SIZES))}GiB",
                gpus=draw(st.sampled_from([0, 0, 1, 3, 8])), min=least, max=most, instance="any", price_per_hour=1.0,
            )
        )  # fmt: skip
    head = NodeGroup(name="head", cpus=draw(st.integers(1, 8)), memory="8GiB", instance="any")
    return Cluster(
        name="any", provider=provider, groups=(head, *groups), head="head", head_works=head_works, region="any",
        threads=draw(st.one_of(st.none(), st.integers(1, 12))),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(described())
def test_what_a_cluster_is_said_to_run_fits_every_node_and_leaves_fetches_a_processor(cluster: Cluster) -> None:
    try:
        both = staged(cluster, "min"), staged(cluster, "max")
    except CannotFit:
        return
    for found in both:
        check_fits(cluster, found)
    assert both[0].price_per_hour <= both[1].price_per_hour
    assert both[1].budget == budget_for_planned(planned_text(cluster), accelerated=True)


def check_fits(cluster: Cluster, found: Staged) -> None:
    budget = found.budget
    if budget is None:
        return
    groups = {group.name: group for group in cluster.workers}
    standing = [share for share in found.shares if share.nodes]
    for share in standing:
        group = groups[share.group]
        assert share.actors * budget.actor_cpus <= group.cpus, "more processors are booked than a node has"
        assert share.actors * budget.actor_gpus <= group.gpus, "more GPUs are booked than a node has"
        if budget.actor_gpus and cluster.threads is None:
            assert share.actors * budget.threads < group.cpus, "no processor is left to fetch on"
        memory = group.memory_bytes - store_bytes(group.machine) - RESERVE_BYTES
        assert share.actors * budget.actor_memory <= memory, "Ray would never place the last"
        assert share.actors * budget.pixel_budget * BYTES_PER_PIXEL <= memory
        assert not share.actors or worker_bytes(budget) <= memory
        fetches = 0 if share.actors else min(budget.num_fetches, int(group.cpus / budget.fetch_cpus))
        assert fetches * CHUNK_BYTES <= memory, "its fetches would run out of memory"
    assert 1 <= budget.num_actors <= sum(share.actors * share.nodes for share in standing), "one is never placed"
    if found.shares == staged(cluster, "max").shares:
        cpus = sum(groups[share.group].cpus * share.nodes for share in standing)
        assert cpus - budget.num_actors * budget.actor_cpus >= budget.fetch_cpus, "fetches could never start"


def test_actors_of_unlike_nodes_take_no_more_than_the_poorest_has_for_one() -> None:
    # Eight actors with the memory that the small node has for its one would want four times what the large one has.
    small, large = (
        Machine(cpus=16, gpus=1, memory_bytes=64 << 30),
        Machine(cpus=96, gpus=8, memory_bytes=128 << 30),
    )
    budget = budget_for_nodes([small, large])
    assert budget.num_actors == 9
    assert 8 * budget.actor_memory <= large.memory_bytes
    many = Machine(cpus=64, memory_bytes=64 << 30)
    budget = budget_for_nodes([Machine(cpus=5, memory_bytes=64 << 30), many])
    assert (budget.num_actors - 1) * budget.actor_memory <= many.memory_bytes


def test_a_driver_counts_on_nodes_that_are_not_added_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = read_cluster("kuberay")
    monkeypatch.setenv(PLANNED, planned_text(cluster))
    assert _budget_of_joined(accelerated=True) == staged(cluster, "max").budget
    # Nobody adds GPUs for work on processors.
    plain = _budget_of_joined(accelerated=False)
    assert (plain.num_actors, plain.actor_gpus, plain.actor_cpus) == (4, 0, 6)
    monkeypatch.setenv(PLANNED, "{}")
    with pytest.raises(ValueError, match=f"{PLANNED} cannot be read .*: unset it"):
        _budget_of_joined(accelerated=True)


def test_a_run_waits_longer_where_nodes_are_still_to_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLANNED, raising=False)
    monkeypatch.delenv(WAIT, raising=False)
    assert waiting_seconds() == 0
    monkeypatch.setenv(PLANNED, planned_text(read_cluster("kuberay")))
    assert waiting_seconds() == 3600
    monkeypatch.setenv(WAIT, "240")
    assert waiting_seconds() == 4 * 3600
    for said in ("-1", "long", "nan", "inf"):
        monkeypatch.setenv(WAIT, said)
        with pytest.raises(OSError, match=f"{WAIT} is '{said}': write minutes, from 0 to 43200, such as 240"):
            waiting_seconds()


def test_client_and_cluster_must_have_the_same_ray_and_python() -> None:
    here = Versions(ray="2.60.0", python="3.11")
    assert mismatch(here, Versions(ray="2.60.0", python="3.11.9")) is None
    assert mismatch(here, Versions(ray="2.58.1", python="3.12.4")) == (
        "the cluster runs Ray 2.58.1 on Python 3.12, this machine Ray 2.60.0 on Python 3.11, and they must be the "
        "same: run the cluster on an image of 2.60.0-py311, or regrow here with ray==2.58.1 in Python 3.12"
    )
    for image, fits in (
        ("rayproject/ray:2.60.0-py311-gpu", True), ("me/regrow:0.1.0-ray2.60.0-py311", True), ("me/regrow:prod", True),
        ("rayproject/ray:2.58.0-py311", False), ("me/regrow:0.1.0-ray2.60.0-py312", False), ("me/r:py3.12", True),
    ):  # fmt: skip
        assert (image_mismatch(image, here) is None) == fits, image


def test_versions_are_those_that_constraints_pin_and_that_run_here() -> None:
    assert f"ray=={RAY}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert versions_here().ray == RAY


def test_threads_that_are_given_are_taken_and_change_nothing_where_they_are_what_is_found() -> None:
    for cpus, nodes in itertools.product((4, 8, 16), (2, 4)):
        machines = [Machine(cpus=cpus, memory_bytes=32 << 30)] * nodes
        found = budget_for_nodes(machines)
        assert budget_for_nodes(machines, found.threads) == found
        assert budget_for_nodes(machines, 1).num_actors == nodes * (cpus - 1)
    assert replace(found, threads=1) != found
