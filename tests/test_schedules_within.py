"""Schedules that have their job within: one file, the examples of the docs, ticks, and what is emitted."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from jobs import cli
from jobs.runs.record import kind_of, read_record
from jobs.runs.times import read_moment
from jobs.schedules.schedule import Scheduled, read_scheduled
from jobs.spec import read_job
from pipelines.requests import ReconstructRequest
from tests.archives import make_archive

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```yaml\n(# \w+\.yaml\n.*?)```", (ROOT / "docs" / "schedules.md").read_text(), re.DOTALL)
WITHIN = [text for text in EXAMPLES if "\njob:\n" in text]
DUE = "2026-11-25T01:30:00Z"
NIGHTLY = "cron: '30 2 * * *'\nzone: Europe/Berlin\njob:\n  kind: {}\n  archive: a.regrow\n"


def within(folder: Path, text: str) -> Scheduled:
    (folder / "nightly.yaml").write_text(text)
    return read_scheduled(str(folder / "nightly.yaml"))


@pytest.mark.parametrize("text", WITHIN, ids=lambda text: text.split()[1])
def test_each_example_of_the_docs_is_one_file_of_ten_lines_that_is_sound(tmp_path, text, capsys):
    assert len(text.splitlines()) <= 10
    make_archive(tmp_path / "photos.regrow")
    scheduled = within(tmp_path, text.replace("s3://bucket", str(tmp_path)))
    assert scheduled.request == read_job(scheduled.file)
    assert cli.run(["schedule", "check", scheduled.file]) == 0
    assert f"in this file ({kind_of(scheduled.request)})" in capsys.readouterr().out


def test_the_docs_show_each_selection():
    said = "".join(WITHIN)
    assert len(WITHIN) == 5
    for field in ("keys_from:", "new_since: last_run", "kind: archive", "kind: verify", "sample:"):
        assert field in said


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("job: {kind: repaint, archive: a}", "job: kind is 'repaint' (did you mean retry?): write archive, "),
        ("job: {kind: verify, archive: a, shares: 1}", "job: unknown field shares (did you mean share?)"),
        ("job: {kind: verify}", "job: field archive is missing"),
        ("job: {kind: verify, archive: ''}", "job: archive is empty: name a folder, a file or a URL"),
        ("job: {kind: verify, archive: a, notify: {}}", "job: notify stands in the job: write it beside `job`"),
        ("job: 3", "field job is 3: write "),
    ],
)
def test_what_is_wrong_in_a_job_within_is_told_in_a_line(tmp_path, capsys, job, said):
    (tmp_path / "nightly.yaml").write_text(f"cron: '30 2 * * *'\n{job}\n")
    assert cli.run(["schedule", "check", str(tmp_path / "nightly.yaml")]) == 2
    line = capsys.readouterr().err
    assert f"{tmp_path}/nightly.yaml: {said}" in line
    assert line.count("\n") == 1


def test_paths_of_a_job_within_begin_at_the_schedule(tmp_path):
    scheduled = within(tmp_path, NIGHTLY.format("reconstruct") + "  destination: out\n  keys_from: asked/\n")
    assert isinstance(scheduled.request, ReconstructRequest)
    assert scheduled.request.archive == str(tmp_path / "a.regrow")
    assert scheduled.request.keys_from == f"{tmp_path}/asked/"


def test_its_tick_runs_once_and_the_file_can_be_run_by_hand(tmp_path, capfd):
    make_archive(tmp_path / "a.regrow")
    scheduled = within(tmp_path, NIGHTLY.format("verify"))
    for _ in range(2):
        assert cli.run(["schedule", "tick", scheduled.file, "--now", DUE]) == 0
    told = capfd.readouterr()
    assert told.out.count("intact: every thumbnail as written") == 1
    run = scheduled.run_id(read_moment(DUE))
    assert f"run {run} is done" in told.err
    record = read_record(scheduled.place, run)
    assert record is not None
    assert (record.kind, record.outcome, record.tick, record.begun) == ("verify", "done", DUE, 1)
    # By hand it is the same job: what is done under this id is not done again.
    assert cli.run(["run", scheduled.file, "--run-id", run]) == 0
    assert "nothing is run again" in capfd.readouterr().err


def test_damage_is_the_exit_status_of_a_tick(tmp_path, capfd):
    location = make_archive(tmp_path / "a.regrow")
    next((tmp_path / "a.regrow" / "packs").iterdir()).write_bytes(b"rotten")
    scheduled = within(tmp_path, NIGHTLY.format("verify"))
    assert cli.run(["schedule", "tick", scheduled.file, "--now", DUE]) == 1
    assert f"1 object of {location.url} damaged, and with that the thumbnails of 6 images: " in capfd.readouterr().err
    assert cli.run(["schedule", "history", scheduled.file, "--now", DUE]) == 0
    assert re.search(r"failed .* damaged 6", capfd.readouterr().out)
    assert cli.run(["schedule", "tick", scheduled.file, "--now", DUE]) == 0
    assert f"to run it again: regrow run {scheduled.file} --run-id " in capfd.readouterr().err


def test_kubernetes_gets_one_file(tmp_path, capsys):
    text = next(one for one in WITHIN if "keys_from" in one)
    scheduled = within(tmp_path, text)
    assert cli.run(["schedule", "emit", scheduled.file, "--as", "cronjob", "--image", "regrow:1"]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)
    [data] = [one["data"] for one in documents if one["kind"] == "ConfigMap"]
    assert list(data) == ["schedule.yaml"]
    (tmp_path / "pod.yaml").write_text(data["schedule.yaml"])
    assert read_scheduled(str(tmp_path / "pod.yaml")).request == scheduled.request
    beside = within(tmp_path, text.replace("s3://bucket/requests/", "requests/"))
    assert cli.run(["schedule", "emit", beside.file, "--as", "cronjob"]) == 2
    assert ": keys_from begins at the job's folder, which is another one in a pod" in capsys.readouterr().err
