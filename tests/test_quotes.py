"""What an estimate says of a cluster that is described: its nodes, hours and prices, or why it cannot run there."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clusters.budget import Budget
from clusters.costs import Step, Work, duration
from clusters.description import Cluster, NodeGroup
from clusters.quotes import Quote, Wants, quoted
from clusters.stages import CannotFit, budget_for_planned, planned_text
from jobs import cli
from jobs.clusters import known_clusters, read_cluster
from tests.runs import photographs, put_files
from tests.test_estimate import written

KUBERAY = read_cluster("kuberay")
GPU_WORK = Wants(accelerated=True)
CPU_WORK = Wants(accelerated=False)


def work(
    num_units: int = 100_000, *, fetch: float = 0, decode: float = 0, encode: float = 0, slot: str = "thread"
) -> Work:
    steps = (
        Step(name="fetch", seconds=fetch, slot="stream"),
        Step(name="decode", seconds=decode, slot="thread"),
        Step(name="encode", seconds=encode, slot="device" if slot == "device" else "thread"),
    )
    return Work(steps=steps, num_images=16 * num_units, num_units=num_units, start_seconds=10)


def nodes(quote: Quote) -> dict[str, int]:
    return {one.group: one.nodes for one in quote.groups}


def budget(cluster: Cluster, wants: Wants) -> Budget:
    return budget_for_planned(planned_text(cluster), accelerated=wants.accelerated)


def test_work_of_gpus_is_billed_for_gpu_nodes_those_that_fetch_and_the_head() -> None:
    one = work(encode=8 * 3600, slot="device")
    quote = quoted(KUBERAY, one, GPU_WORK)
    assert (quote.actors, quote.seconds, quote.slowest) == (8, pytest.approx(3610), "encode")
    # Sixteen fetches of a quarter of a processor need one CPU node of seven.
    assert nodes(quote) == {"head": 1, "cpu": 1, "gpu": 8}
    assert quote.price_per_hour == pytest.approx(0.2 + 0.3 + 8 * 0.35)
    assert quote.cost == pytest.approx(quote.price_per_hour * 3610 / 3600)
    gpu = quote.groups[2]
    assert (gpu.spot, gpu.gpu_hours) == (True, pytest.approx(8 * 3610 / 3600))
    assert gpu.cost == pytest.approx(0.35 * gpu.node_hours)
    assert quote.groups[1].cpu_hours == pytest.approx(7 * 3610 / 3600)


def test_work_without_networks_leaves_nodes_with_gpus_out_of_the_bill() -> None:
    quote = quoted(KUBERAY, work(encode=3600), CPU_WORK)
    assert nodes(quote) == {"head": 1, "cpu": 4, "gpu": 0}
    assert quote.actors == budget(KUBERAY, CPU_WORK).num_actors
    assert quote.seconds == duration(work(encode=3600), budget(KUBERAY, CPU_WORK)).seconds


def test_a_small_job_is_billed_for_the_nodes_that_it_has_work_for() -> None:
    quote = quoted(KUBERAY, work(3, encode=900, slot="device"), GPU_WORK)
    assert (quote.actors, nodes(quote)["gpu"]) == (3, 3)
    assert nodes(quoted(KUBERAY, work(1, encode=9), CPU_WORK))["cpu"] == 1


def test_the_slowest_step_is_that_of_the_cluster_and_not_of_this_machine() -> None:
    # Eight GPUs with six threads each: what a GPU does in 60 s, decoding 600 s of a thread cannot follow.
    assert quoted(KUBERAY, work(decode=600, encode=60, slot="device"), GPU_WORK).slowest == "decode"
    assert quoted(KUBERAY, work(decode=600, encode=600, slot="device"), GPU_WORK).slowest == "encode"
    assert quoted(KUBERAY, work(fetch=1e6, decode=600, encode=600, slot="device"), GPU_WORK).slowest == "fetch"


@settings(deadline=None)  # of a busy machine
@given(name=st.sampled_from(known_clusters()), units=st.integers(1, 3_000), accelerated=st.booleans())
def test_a_bill_is_the_sum_of_its_groups_and_never_of_more_nodes_than_there_are(
    name: str, units: int, accelerated: bool
) -> None:
    cluster, wants = read_cluster(name), Wants(accelerated=accelerated)
    slot = "device" if budget(cluster, wants).actor_gpus else "thread"
    quote = quoted(cluster, work(units, decode=units, encode=units, slot=slot), wants)
    assert quote.cost == pytest.approx(quote.price_per_hour * quote.seconds / 3600)
    for one, group in zip(quote.groups, cluster.groups, strict=True):
        assert group.min <= one.nodes <= group.most
        assert one.gpu_hours == pytest.approx(group.gpus * one.node_hours)
    assert sum(one.nodes for one in quote.groups) >= 1


def test_what_a_cluster_cannot_run_is_refused_with_the_numbers() -> None:
    small = NodeGroup(name="gpu", cpus=7, memory="6GiB", gpus=1, min=0, max=8)
    cluster = replace(KUBERAY, groups=(KUBERAY.groups[0], KUBERAY.groups[1], small))
    one = work(encode=60, slot="device")
    assert quoted(cluster, one, GPU_WORK).actors == 8
    with pytest.raises(CannotFit, match=r"group gpu has 6GiB a node, and needs 7\.3 GiB: .* 5\.0 for weights"):
        quoted(cluster, one, replace(GPU_WORK, weights_bytes=5 << 30))
    with pytest.raises(CannotFit, match=r"4\.1 more for an image of 400 megapixels"):
        quoted(cluster, one, replace(GPU_WORK, most_pixels=400_000_000))
    with pytest.raises(
        CannotFit, match="its actors work on GPUs of L4, and nothing was timed on a GPU here: say --speed"
    ):
        quoted(KUBERAY, work(encode=60), GPU_WORK)
    with pytest.raises(CannotFit, match=r"it has no GPU, and the trial ran on one: say --speed, .* of its 1 actors"):
        quoted(read_cluster("laptop"), one, replace(GPU_WORK, timed_on_gpu=True))


def test_the_command_tells_hours_and_cost_of_a_cluster_in_words_and_as_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(3))
    job = written(tmp_path / "job.yaml", kind="archive", source=source, archive="a.regrow", codec="bicubic-x16")
    asked = ["estimate", job, "--seconds", "0"]
    assert cli.run([*asked, "--cluster", "kuberay"]) == 0
    shown = capsys.readouterr().out
    assert "  on kuberay  about " in shown
    assert "1 node of cpu: 0.0" in shown
    assert "of gpu" not in shown
    description = tmp_path / "mine.yaml"
    description.write_text(
        "name: mine\nprovider: local\nhead: one\ngroups:\n"
        "  - {name: one, cpus: 8, memory: 16GiB, price_per_hour: 3600}\n"
    )
    assert cli.run([*asked, "--cluster", str(description), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["cluster"]
    assert told["cost"] == pytest.approx(told["seconds"])
    assert told["groups"][0]["nodes"] == 1
    # A smaller cluster is refused before anything is tried.
    description.write_text(description.read_text().replace("16GiB", "1GiB"))
    assert cli.run([*asked, "--cluster", str(description)]) == 2
    assert "group one has 1GiB a node, and needs " in capsys.readouterr().err
    assert cli.run([*asked, "--cluster", "kuberay", "--price", "3"]) == 2
    assert "--price 3 and --cluster kuberay, which has prices of its own: leave one out" in capsys.readouterr().err
    assert cli.run([*asked, "--cluster", "kubray"]) == 2
    assert "no cluster 'kubray' (did you mean kuberay?)" in capsys.readouterr().err
