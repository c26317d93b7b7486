"""Every benchmark runs, tells what it measured, and counts as it says."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from bench import (
    codecs,
    codecs_gpu,
    judging,
    lookup,
    memory,
    nano,
    nodes,
    planning,
    report,
    resume,
    scale,
    seams,
    throughput,
)
from bench.children import call
from bench.report import Table
from bench.synthetic import photo_key
from bench.watch import tree
from bench.weed import Served
from ops.codecs.names import codec_from
from ops.weights.random_weights import make_random


def shown(tables: list[Table]) -> str:
    """All tables as a user sees them; every row must have a cell for every column."""
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    return "\n".join(table.markdown() for table in tables)


@pytest.mark.ray
def test_throughput_gives_a_ratio_and_says_where_the_time_went():
    text = shown(throughput.measure(throughput.QUICK))
    assert re.search(r"ratio: median \d+\.\d%", text)
    assert re.search(r"\| bare \| encode \| \d+\.\d% ", text)
    assert "8 chunks, " in text


@pytest.mark.ray
def test_judging_gives_a_ratio_the_same_scores_on_both_sides_and_a_rate_of_each_metric():
    ratios, rates, memory = judging.measure(judging.QUICK)
    assert re.search(r"ratio: median \d+\.\d%", shown([ratios, rates]))
    assert [row[0] for row in rates.rows] == [row[0] for row in memory.rows] == list(judging.QUICK.metrics)


@pytest.mark.ray
def test_memory_counts_ray_s_processes_and_states_each_term_of_the_bound():
    growth, bound = memory.measure(memory.QUICK)
    assert [row[0] for row in growth.rows] == [4, 8, 1]
    assert "workers" in growth.rows[0][4]
    assert "raylet" in growth.rows[0][4]
    assert ["12 bytes x 12,000,000 pixels", "144 MB"] in list(bound.rows)


@pytest.mark.ray
@pytest.mark.s3
def test_resume_finds_what_is_done_on_both_stores():
    [table] = resume.measure(resume.QUICK)
    assert [row[1:3] for row in table.rows] == [[32, 1856], [32, 1856]]
    assert any("requests up to Started" in note and "LIST" in note for note in table.notes)


@pytest.mark.s3
def test_a_thumbnail_is_one_ranged_get_as_the_server_counts():
    [table] = lookup.measure(lookup.QUICK)
    steps = {row[0]: str(row[1]) for row in table.rows}
    assert steps["thumbnail"] == "1 GET"
    assert "exactly one ranged GET of its bytes: met" in shown([table])


def test_scale_counts_what_the_real_code_asks_for():
    objects, phases, calls = scale.measure(scale.QUICK)
    counted = {(row[0], row[1]): row[2] for row in calls.rows}
    assert counted["plan", "list_objects_v2 source"] == 20
    chunks = {row[0]: row[1] for row in objects.rows}["chunks"]
    assert counted["seal", "objects deleted"] == 2 * chunks  # every part and every mark
    assert counted["seal", "delete_objects"] == -(-2 * chunks // 1000)
    assert "extrapolated" in shown([objects, phases, calls])


def test_a_list_is_planned_and_its_driver_takes_a_receipt_of_each_chunk_and_seals():
    plan, driver, asked = planning.measure(planning.QUICK)
    assert plan.rows[0][1] == -(-20_000 // 16)
    assert len(driver.rows) == 6
    calls = {(row[0], row[1]): row[2] for row in asked.rows}
    assert calls["seal", "delete_objects"] == -(-2 * 1250 // 1000)
    assert ("receipts", "list_objects_v2 parts") not in calls
    assert "receipts: 1,250, " in shown([plan, driver, asked])


@pytest.mark.ray
def test_two_actors_are_placed_on_one_node_and_on_two_of_four():
    [table] = nodes.measure(nodes.QUICK)
    assert [row[0] for row in table.rows] == [1, 4]
    assert [row[6] for row in table.rows] == ["2", "1+1"]
    assert re.search(r"medians differ from one node's by at most \d+\.\d%", shown([table]))


def test_learned_codecs_are_timed_step_by_step_and_their_arithmetic_is_that_of_the_floor():
    times, memory, counts = codecs.measure(codecs.QUICK)
    steps = {row[3]: dict(zip(times.columns, row, strict=True)) for row in times.rows}
    assert [steps[way][step] == "0.0%" for way, step in (("down", "VAE encode"), ("up", "VAE encode"))] == [False, True]
    assert all(steps["up"][step] != "0.0%" for step in ("VAE decode", "U-Net", "rescaling"))
    assert [row[0] for row in memory.rows] == ["256x128", "256x128", "384x256", "384x256"]
    # Of 512x512: 1.12 TFLOP to encode, 2.52 to decode, 0.80 for the U-Net, by their layers' shapes.
    assert [[round(number, 2) for number in row[2:5]] for row in counts.rows] == [[1.12, 0, 0], [0, 2.51, 0.80]]


def test_codecs_on_a_device_are_run_by_batch_and_precision():
    rates, shares, levels = codecs_gpu.measure(replace(codecs_gpu.QUICK, device="cpu"))
    assert [[row[1], row[2], row[4]] for row in rates.rows[:3]] == [
        ["down", "bfloat16", ""], ["up", "bfloat16", 1], ["up", "bfloat16", 4]
    ]  # fmt: skip
    assert len(shares.rows) == 4
    assert [row[:2] for row in levels.rows] == [["bfloat16", "thumbnail"], ["bfloat16", "image"]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_codecs_on_a_gpu_end_in_one_line_where_there_is_none():
    ended = subprocess.run([sys.executable, "-m", "bench", "codecs-gpu"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"codecs-gpu .* no CUDA device: run it on a GPU\n", ended.stderr)


def test_seams_are_measured_pasted_and_faded():
    [table] = seams.measure(seams.QUICK)
    ways = {(row[0], row[1], row[2].rpartition(" ")[2]) for row in table.rows}
    assert {
        ("trained", "VAE decode", "pasted"),
        ("trained", "VAE decode", "faded"),
        ("random", "U-Net", "official"),
    } <= ways
    # Strips and diffusers' own whole call differ by rounding alone.
    assert all(row[3] < 0.05 for row in table.rows if "diffusers" in row[2])


def test_nano_is_cut_into_tiles_that_hardly_differ_from_the_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    make_random(codec_from("nano-x16"), 0)
    [table] = nano.measure(nano.QUICK)
    [[codec, _, largest, mean, _, at_tiles, of_whole, *rest]] = table.rows
    assert codec == "nano-x16"
    assert 0 < mean <= largest < 10
    assert at_tiles == pytest.approx(of_whole, rel=0.1)
    assert min(rest[-2:]) > 0


def test_the_energy_of_a_seam_is_one_without_and_more_with_one():
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert seams.seam_energy(image, [], [32]) == pytest.approx(1, abs=0.2)
    image[..., 32:] += 3
    assert seams.seam_energy(image, [], [32]) > 5


def test_made_up_keys_are_listed_in_the_order_of_bytes_and_never_twice():
    keys = [photo_key(number) for number in range(0, 60_000_000, 99_991)]
    assert keys == sorted(set(keys))


def test_a_child_that_fails_says_why_and_leaves_nothing_running():
    started: list[int] = []
    with pytest.raises(RuntimeError, match="scale_phases:nowhere"):
        call("scale_phases:nowhere", {}, started=started.append)
    assert not Path(f"/proc/{started[0]}").exists()


def test_a_tree_holds_grandchildren():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    assert len(tree(child.pid)) == 2
    child.communicate(b"\n")


def test_results_are_kept_as_json_with_machine_versions_command_and_date(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    facts = report.machine()
    report.save("one", facts, [Table(title="T", columns=["a"], rows=[[0.5]])])
    kept = json.loads((tmp_path / "one.json").read_text())
    assert kept["tables"][0]["rows"] == [[0.5]]
    assert {"date", "command", "cpu", "cores", "memory_bytes", "versions"} <= set(kept["machine"])
    assert facts["versions"]["ray"] in report.heading(facts)


def test_counts_between_two_moments_leave_out_what_was_before():
    later = Served(dict(Counter(GET=3, LIST=1)), 900).since(Served({"GET": 2, "LIST": 1}, 400))
    assert later == Served({"GET": 1}, 500)
    assert str(later) == "1 GET"
