"""What a job will take, told before it runs: a census by headers, a trial of a few images, and arithmetic."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.budget import budget_for
from clusters.costs import Step, Work, duration, on_actors
from clusters.machine import Machine
from jobs import cli
from ops.archive.layout import ArchiveError, locate, read_document
from ops.census import take_census
from ops.readers.base import Entry
from ops.sources.report import ScanReport
from ops.sources.scanning import scan
from pipelines.archive import archive
from pipelines.estimate import Asked
from pipelines.estimating import estimate
from pipelines.requests import EvaluateRequest, ReconstructRequest
from tests import makers
from tests.runs import photographs, put_files, request
from tests.test_pipeline_evaluate import FAST

FOUR = budget_for(Machine(cpus=17, memory_bytes=64 << 30))


def entries(folder) -> list[Entry]:
    return list(scan(str(folder), report=ScanReport()))


def work(num_images=640, num_units=10, **seconds) -> Work:
    slots = {"fetch": "stream", "decode": "thread", "encode": "thread", "network": "device"}
    steps = tuple(Step(name=name, seconds=number, slot=slots[name]) for name, number in seconds.items())
    return Work(steps=steps, num_images=num_images, num_units=num_units, start_seconds=5)


def test_a_census_of_all_headers_is_exact_and_one_of_some_has_an_interval_that_holds_the_truth(tmp_path):
    sizes = [(40 + 3 * at, 30 + 7 * (at % 9)) for at in range(60)]
    for at, (width, height) in enumerate(sizes):
        (tmp_path / f"{at}.png").write_bytes(makers.encode(makers.photo(width, height, seed=at)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pixels = sum(width * height for width, height in sizes)
    whole, sample = take_census(entries(tmp_path), 1000)
    assert (whole.num_images, whole.num_unreadable, whole.pixels, whole.interval) == (61, 1, pixels, (pixels, pixels))
    assert whole.is_exact
    assert whole.num_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert whole.largest == max(width * height for width, height in sizes)
    some, again = take_census(entries(tmp_path), 20)
    assert (some.num_images, some.num_bytes, some.num_sampled) == (61, whole.num_bytes, 20)
    assert not some.is_exact
    low, high = some.interval
    assert low < pixels < high
    assert low < some.pixels < high
    assert [one.entry.key for one in sample][:20] == [one.entry.key for one in again]  # the same ones each time


def test_work_takes_as_long_as_its_busiest_slots_and_idle_actors_do_not_help():
    one = on_actors(FOUR, 1)
    assert (FOUR.num_actors, FOUR.threads) == (4, 4)
    found = duration(work(decode=40, encode=120, fetch=8), one)
    assert found == pytest.approx((5 + 160 / 4, "encode", 0.75))
    assert duration(work(decode=40, encode=120), on_actors(FOUR, 10)).seconds == pytest.approx(5 + 160 / 40)
    # Ten units on four actors take three rounds, on a hundred actors one.
    assert duration(work(encode=120), FOUR).seconds == pytest.approx(5 + 120 / 4 / (10 / 3))
    assert duration(work(encode=120), on_actors(FOUR, 100)) == duration(work(encode=120), on_actors(FOUR, 10))
    assert duration(work(network=100, decode=40), one).slowest == "network"
    assert duration(work(fetch=1000, decode=4), one).slowest == "fetch"


@given(actors=st.integers(1, 600), units=st.integers(1, 5000), seconds=st.floats(0.1, 1e6))
def test_more_actors_never_take_longer_nor_more_than_one_of_them_would(actors, units, seconds):
    job = work(num_images=64 * units, num_units=units, encode=seconds)
    alone, together = (duration(job, on_actors(FOUR, number)).seconds for number in (1, actors))
    assert together <= alone + 1e-9
    assert alone - 5 <= actors * (together - 5) * (1 + 1e-9)
    assert duration(job, on_actors(FOUR, actors + 1)).seconds <= together * (1 + 1e-9)


@pytest.mark.ray
def test_an_estimate_says_what_the_job_then_reads_and_writes(ray_here, tmp_path):
    source = put_files(str(tmp_path / "photos"), photographs(12))
    asked = request(source, tmp_path / "a.regrow")
    found = estimate(asked, Asked(seconds=0.0))
    assert read_document(locate(asked.archive)) is None  # nothing was written
    assert found.trial.num_images == 1
    found = estimate(asked, Asked())
    seal = archive(asked)
    totals = seal.totals
    assert (found.num_images, found.bytes_in) == (totals.num_images, totals.source_bytes)
    assert found.pixels == totals.pixels
    assert found.bytes_out == pytest.approx(totals.thumbnail_bytes, rel=0.02)
    assert {step.name for step in found.work.steps} == {"fetch", "decode", "encode"}

    regrowing = estimate(ReconstructRequest(archive=asked.archive, destination=str(tmp_path / "out")), Asked())
    assert (regrowing.num_images, regrowing.pixels, regrowing.bytes_in) == (
        totals.num_good, totals.pixels, totals.thumbnail_bytes,
    )  # fmt: skip
    assert regrowing.bytes_out > regrowing.bytes_in
    judging = estimate(EvaluateRequest(target=asked.archive, protocol=FAST, baselines=("jpeg",)), Asked(seconds=0.0))
    assert (judging.num_images, judging.pixels, judging.trial.num_images) == (totals.num_good, totals.pixels, 1)
    assert {step.name for step in judging.work.steps} == {"fetch", "decode", "judge"}
    assert not (tmp_path / "out").exists()

    with pytest.raises(ArchiveError, match=r"holds everything that .* has: there is nothing to estimate"):
        estimate(asked, Asked())
    put_files(source, {"new.png": makers.encode(makers.photo(90, 70, seed=99))})
    grown = estimate(asked, Asked())
    assert (grown.num_images, grown.pixels) == (1, 90 * 70)


def test_a_speed_takes_the_place_of_what_was_measured(tmp_path):
    source = put_files(str(tmp_path / "photos"), photographs(3))
    asked = request(source, tmp_path / "a.regrow")
    given = estimate(asked, Asked(speed=0.5))
    [main] = [step for step in given.work.steps if step.name == "encode"]
    assert main == Step(name="encode", seconds=given.pixels / 1e6 / 0.5, slot="device")


def written(path, **fields) -> str:
    path.write_text(json.dumps(fields))
    return str(path)


def test_the_command_shows_it_in_words_and_as_a_document(tmp_path, capsys):
    source = put_files(str(tmp_path / "photos"), photographs(3))
    job = written(tmp_path / "job.yaml", kind="archive", source=source, archive="a.regrow", codec="bicubic-x16")
    assert cli.run(["estimate", job, "--price", "3.6"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("archive, bicubic-x16: an estimate, nothing was run\n")
    assert "3, every header read" in shown
    assert ", cost 0.0" in shown
    assert cli.run(["estimate", job, "--json", "--headers", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["census"]["num_sampled"], told["on"][0]["actors"]) == (3, 2, 1)
    assert told["here"]["seconds"] > told["start_seconds"]
    assert not (tmp_path / "a.regrow").exists()


def test_a_dry_run_of_a_command_estimates_and_does_nothing(tmp_path, capsys):
    source, made = put_files(str(tmp_path / "photos"), photographs(2)), tmp_path / "a.regrow"
    assert cli.run(["archive", source, str(made), "--codec", "bicubic-x16", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("archive, bicubic-x16: an estimate, nothing was run\n")
    codecs = ["--codecs", "bicubic-x4", "--metrics", "psnr_rgb", "--baselines", "none"]
    assert cli.run(["evaluate", source, *codecs, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "evaluate"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_has_no_estimate_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no picture")
    there = {"archive": "a.regrow", "codec": "bicubic-x16"}
    cases = [
        (written(tmp_path / "seal.yaml", kind="seal", archive="a.regrow"), 2, "kind archive, reconstruct and evaluate"),
        (written(tmp_path / "e.yaml", kind="archive", source="empty", **there), 1, "is empty or does not exist"),
        (
            written(tmp_path / "b.yaml", kind="archive", source="broken", **there),
            1,
            "none of the images that were tried",
        ),
        (str(tmp_path / "none.yaml"), 1, "none.yaml"),
    ]
    for job, status, said in cases:
        assert cli.run(["estimate", job]) == status
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
    assert cli.run(["estimate", cases[1][0], "--speed", "0"]) == 2
    assert "--speed 0: write megapixels a second above 0" in capsys.readouterr().err
