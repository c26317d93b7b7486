"""Schedules: which ticks there are, which are run, what is written for cron, systemd and Kubernetes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from jobs import cli
from jobs.errors import UsageError
from jobs.runs.record import RunRecord, put_record, read_record, request_digest
from jobs.runs.times import read_moment, text_of
from jobs.schedules.crons import after
from jobs.schedules.deciding import decide
from jobs.schedules.schedule import Scheduled, parse_schedule, read_scheduled
from jobs.schedules.ticking import tick
from pipelines.archive import archive
from tests.runs import photographs, put_files, request

ROOT = Path(__file__).parents[1]
NIGHTLY = {"cron": "'30 2 * * *'", "zone": "Europe/Berlin", "job": "job.yaml"}


def moment(text: str) -> datetime:
    return read_moment(text)


def schedule(folder: Path, **fields: object) -> Scheduled:
    """A schedule, nightly.yaml, over a reconstruct job beside it."""
    (folder / "job.yaml").write_text("kind: reconstruct\narchive: a.regrow\ndestination: out\n")
    lines = [f"{name}: {value}" for name, value in {**NIGHTLY, **fields}.items() if value is not None]
    (folder / "nightly.yaml").write_text("\n".join(lines) + "\n")
    return read_scheduled(str(folder / "nightly.yaml"))


def record(scheduled: Scheduled, at: str, outcome: str, **fields: object) -> None:
    run = scheduled.run_id(moment(at))
    known = {"kind": "reconstruct", "request": {}, "digest": request_digest(scheduled.request), "started": at}
    put_record(scheduled.place, RunRecord(id=run, outcome=outcome, tick=at, **{**known, **fields}))


@pytest.mark.parametrize(
    ("zone", "day", "cron", "ticks"),
    [
        # Spring: 02:30 does not exist, and comes once, when the clock has jumped. Autumn: twice, and counts once.
        ("Europe/Berlin", "2026-03-28", "30 2 * * *", ["28T01:30", "29T01:00", "30T00:30"]),
        ("Europe/Berlin", "2026-10-24", "30 2 * * *", ["24T00:30", "25T00:30", "26T01:30"]),
        ("America/New_York", "2026-03-07", "30 2 * * *", ["07T07:30", "08T07:00", "09T06:30"]),
        ("America/New_York", "2026-10-31", "30 1 * * *", ["31T05:30", "01T05:30", "02T06:30"]),
        # What comes every half hour keeps its distance.
        ("Europe/Berlin", "2026-10-25", "*/30 * * * *", ["25T00:00", "25T00:30", "25T01:00", "25T01:30"]),
    ],
)
def test_ticks_where_the_clock_is_put_forward_and_back(zone, day, cron, ticks):
    begin = moment(f"{day}T00:00:00Z") - timedelta(seconds=1)
    found = [f"{one:%dT%H:%M}" for one in islice(after(cron, zone, begin), len(ticks))]
    assert found == ticks


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cron": "'30 2 * *'"}, "cron '30 2 * *' has 4 fields, not five"),
        ({"cron": "'61 2 * * *'"}, "has no such minute '61'"),
        ({"cron": "'0 0 31 2 *'"}, "cron '0 0 31 2 *' "),
        ({"zone": "Europe/Berln"}, "no time zone 'Europe/Berln'"),
        ({"deadline": "six hours"}, "field deadline: "),
        ({"overlap": "both"}, "overlap"),
        ({"retrys": 3}, "unknown field retrys"),
        ({"name": "'a b'"}, "name 'a b': write A-Z a-z 0-9 . _ - alone"),
        ({"job": "none.yaml"}, "there is no job "),
        ({"cron": "* * * * *"}, ": put cron text in quotes"),
    ],
)
def test_what_is_wrong_in_a_schedule_is_told_in_a_line(tmp_path, capsys, fields, said):
    with pytest.raises(UsageError):
        schedule(tmp_path, **fields)
    assert cli.run(["schedule", "check", str(tmp_path / "nightly.yaml")]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_a_job_of_a_newer_version_is_taken_for_one(tmp_path, capsys):
    schedule(tmp_path)
    (tmp_path / "job.yaml").write_text("kind: repaint\narchive: a.regrow\n")
    assert cli.run(["schedule", "check", str(tmp_path / "nightly.yaml")]) == 2
    assert "or is it for a regrow newer than" in capsys.readouterr().err


def test_the_newest_tick_that_passed_is_run_once_however_many_were_missed(tmp_path):
    nightly = schedule(tmp_path)
    assert decide(nightly, moment("2026-11-25T09:00:00Z")).ticks == [moment("2026-11-25T01:30:00Z")]
    record(nightly, "2026-11-25T01:30:00Z", "done")
    assert decide(nightly, moment("2026-11-25T23:00:00Z")).ticks == []
    assert decide(nightly, moment("2026-11-29T09:00:00Z")).ticks == [moment("2026-11-29T01:30:00Z")]
    # The clock jumps back: what is recorded done is not run again.
    found = decide(nightly, moment("2026-11-24T09:00:00Z"))
    assert found.ticks == []
    assert "was the clock set back?" in found.lines[0]


def test_a_missed_tick_is_left_out_where_the_schedule_says_so(tmp_path):
    nightly = schedule(tmp_path, catch_up="skip")
    assert decide(nightly, moment("2026-11-25T01:44:00Z")).ticks == [moment("2026-11-25T01:30:00Z")]
    late = decide(nightly, moment("2026-11-25T01:46:00Z"))
    assert late.ticks == []
    assert "was missed 16 minutes ago, and catch_up is skip" in late.lines[0]


@pytest.mark.parametrize("outcome", ["running", "stopped"])
def test_a_run_that_was_cut_off_is_taken_up_before_the_next(tmp_path, outcome):
    nightly = schedule(tmp_path)
    record(nightly, "2026-11-24T01:30:00Z", outcome)
    two = [moment("2026-11-24T01:30:00Z"), moment("2026-11-25T01:30:00Z")]
    assert decide(nightly, moment("2026-11-25T02:00:00Z")).ticks == two
    record(nightly, "2026-11-24T01:30:00Z", outcome, digest="of other settings")
    changed = decide(nightly, moment("2026-11-25T02:00:00Z"))
    assert changed.ticks == two[1:]
    assert "its job is another one by now" in changed.lines[0]


def test_a_failed_run_is_over_and_says_how_to_run_it_again(tmp_path):
    nightly = schedule(tmp_path)
    record(nightly, "2026-11-25T01:30:00Z", "failed", status=1)
    found = decide(nightly, moment("2026-11-25T09:00:00Z"))
    assert found.ticks == []
    assert f"regrow run {tmp_path}/job.yaml --run-id nightly-20261125T013000Z" in found.lines[0]


def test_history_shows_what_became_of_each_tick_and_which_were_missed(tmp_path, capsys):
    nightly = schedule(tmp_path)
    record(nightly, "2026-11-22T01:30:00Z", "done", seconds=90.0)
    record(nightly, "2026-11-24T01:30:00Z", "failed", status=1, message="1 image could not be regrown")
    file = str(tmp_path / "nightly.yaml")
    assert cli.run(["schedule", "history", file, "--now", "2026-11-24T12:00:00Z", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["tick"][:10], one["outcome"]) for one in told] == [
        ("2026-11-24", "failed"), ("2026-11-23", "missed"), ("2026-11-22", "done"),
    ]  # fmt: skip
    assert cli.run(["schedule", "history", file, "--now", "2026-11-24T12:00:00Z"]) == 0
    assert "failed" in capsys.readouterr().out


def test_next_shows_both_clocks(tmp_path, capsys):
    schedule(tmp_path)
    file = str(tmp_path / "nightly.yaml")
    assert cli.run(["schedule", "next", file, "--count", "2", "--now", "2026-10-24T12:00:00Z"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Sun 2026-10-25 02:30 CEST  2026-10-25T00:30:00Z"
    assert second == "Mon 2026-10-26 02:30 CET  2026-10-26T01:30:00Z"


def test_the_crontab_line_calls_what_is_there_at_the_same_times(tmp_path, capsys):
    nightly = schedule(tmp_path, zone="UTC")
    assert cli.run(["schedule", "emit", nightly.file, "--as", "crontab"]) == 0
    *_, line = capsys.readouterr().out.splitlines()
    fields, command = line.split(maxsplit=5)[:5], line.split(maxsplit=5)[5]
    assert parse_schedule(f"cron: '{' '.join(fields)}'\njob: j\n", "again").cron == nightly.schedule.cron
    program, *rest = command.partition(" >> ")[0].split()
    assert os.access(program, os.X_OK)
    assert rest == ["schedule", "tick", nightly.file]


def test_systemd_takes_both_units_and_counts_the_same_ticks(tmp_path):
    nightly = schedule(tmp_path, cron="'15 3 * * mon-fri'", catch_up="once", deadline="6h")
    assert cli.run(["schedule", "emit", nightly.file, "--as", "systemd", "--to", str(tmp_path)]) == 0
    timer, service = ((tmp_path / f"regrow-nightly.{kind}").read_text() for kind in ("timer", "service"))
    assert "Persistent=true" in timer
    assert f"schedule tick {nightly.file}" in service
    calendars = re.findall(r"^OnCalendar=(.+)$", timer, re.MULTILINE)
    assert calendars[0] == "Mon..Fri *-*-* 03:15:00 Europe/Berlin" or "03:15" in calendars[0]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # the words of a calendar are checked above in any case
        return
    done = subprocess.run(
        [analyze, "calendar", "--iterations=1", "--base-time=2026-11-25 12:00:00 UTC", calendars[0]],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    expected = next(nightly.after(moment("2026-11-25T12:00:00Z")))
    assert f"{expected:%Y-%m-%d %H:%M:%S} UTC" in done.stdout


def test_kubernetes_takes_the_cronjob_and_finds_both_files_in_it(tmp_path, capsys):
    schedule(tmp_path)
    job = "kind: reconstruct\narchive: s3://bucket/a.regrow\ndestination: s3://bucket/out\n"
    (tmp_path / "job.yaml").write_text(job)
    assert cli.run(["schedule", "emit", str(tmp_path / "nightly.yaml"), "--as", "cronjob", "--image", "regrow:1"]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)
    [cronjob] = [one for one in documents if one["kind"] == "CronJob"]
    [config] = [one for one in documents if one["kind"] == "ConfigMap"]
    spec = cronjob["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("30 2 * * *", "Europe/Berlin", "Forbid")
    assert job in config["data"].values()
    broken = {**cronjob, "spec": {**spec, "concurencyPolicy": "Forbid"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.34", strict=True)


@pytest.mark.ray
def test_a_reconstruction_ticks_twice_the_first_killed_and_nothing_is_lost_or_doubled(ray_here, tmp_path):
    """A tick in a process group of its own is killed while pictures are written; the next one takes its run up."""
    source = put_files(str(tmp_path / "photos"), photographs(150))
    archive(request(source, tmp_path / "a.regrow"))
    nightly = schedule(tmp_path)
    out, first, second = tmp_path / "out", "2026-11-25T01:30:00Z", "2026-11-26T01:30:00Z"
    command = [sys.executable, "-m", "jobs.cli", "schedule", "tick", nightly.file, "--now", first]
    killed = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if any(out.glob("*.png")) or killed.poll() is not None:
                break
            time.sleep(0.05)
        assert killed.poll() is None, "it was done before it could be killed"
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    run = nightly.run_id(moment(first))
    assert read_record(nightly.place, run).outcome == "running"

    told: list[str] = []
    assert tick(nightly, moment(second) + timedelta(minutes=1), told.append, quiet=True) == 0
    assert any("taking up run" in line for line in told)
    for at in (first, second):
        found = read_record(nightly.place, nightly.run_id(moment(at)))
        assert (found.outcome, found.counts.images, found.counts.done) == ("done", 150, 150)
    assert read_record(nightly.place, run).begun == 2
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [f"{at:03}.jpg.png" for at in range(150)]
    assert tick(nightly, moment(second) + timedelta(minutes=2), told.append) == 0
    assert "is done" in told[-1]


def test_now_is_the_clock_of_the_machine_where_none_is_said(tmp_path, capsys):
    schedule(tmp_path, cron="'* * * * *'")
    assert cli.run(["schedule", "next", str(tmp_path / "nightly.yaml"), "--count", "1"]) == 0
    found = next(moment(word) for word in capsys.readouterr().out.split() if word.endswith("00Z"))
    assert timedelta(0) <= found - datetime.now(UTC) + timedelta(seconds=5) <= timedelta(seconds=70)
    assert text_of(found).endswith(":00Z")
