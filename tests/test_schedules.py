"""Schedules: which ticks there are, which are run, what is written for cron, systemd and Kubernetes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from jobs import cli
from jobs.errors import UsageError
from jobs.runs.lease import holding
from jobs.runs.record import RunRecord, put_record, read_record, request_digest
from jobs.runs.times import read_moment, text_of
from jobs.schedules import ticking
from jobs.schedules.crons import after
from jobs.schedules.deciding import decide
from jobs.schedules.emitting.crontab import crontab
from jobs.schedules.emitting.fields import fields_of, moved_ticks
from jobs.schedules.emitting.systemd import systemd
from jobs.schedules.history import history
from jobs.schedules.schedule import Scheduled, parse_schedule, read_scheduled
from jobs.schedules.ticking import tick
from tests.archives import make_archive
from tests.kills import _kill_session as kill_session
from tests.runs import jpeg

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


@pytest.fixture
def quick(tmp_path):
    """A schedule over a job that a sealed archive without failures answers at once, without Ray."""
    make_archive(tmp_path / "a.regrow")

    def make(job: str = "kind: retry\narchive: a.regrow\n", **fields: object) -> Scheduled:
        schedule(tmp_path, **fields)
        (tmp_path / "job.yaml").write_text(job)
        return read_scheduled(str(tmp_path / "nightly.yaml"))

    return make


DUE = "2026-11-25T01:30:00Z"


def test_a_tick_runs_once_however_often_it_is_called(quick, capfd):
    nightly = quick()
    for _ in range(2):
        assert cli.run(["schedule", "tick", nightly.file, "--now", DUE]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == (
        "regrow: nightly: nothing is due: run nightly-20261125T013000Z is done; next at 2026-11-26T01:30:00Z"
    )
    found = read_record(nightly.place, nightly.run_id(moment(DUE)))
    assert (found.schedule, found.tick, found.begun) == ("nightly", DUE, 1)


def test_two_ticks_at_once_run_it_once(quick):
    nightly = quick(overlap="wait")
    command = [sys.executable, "-m", "jobs.cli", "schedule", "tick", nightly.file, "--now", DUE]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    told = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert read_record(nightly.place, nightly.run_id(moment(DUE))).begun == 1


def test_while_another_run_works_there_a_tick_is_skipped(quick, capfd):
    nightly = quick(overlap="skip")
    with holding("the place", nightly.place.lease, "other"):
        assert tick(nightly, moment(DUE), print) == 0
    assert "is skipped, as its overlap policy says: " in capfd.readouterr().err
    assert decide(nightly, moment(DUE)).ticks == [moment(DUE)]


def test_a_deadline_stops_a_run_and_says_so(quick):
    nightly, told = quick(overlap="wait", deadline="3s"), []
    with holding("the place", nightly.place.lease, "other"):
        assert tick(nightly, moment(DUE), told.append) == 143
    assert told == ["nightly-20261125T013000Z: deadline 3s has passed: stopping it"]


def test_a_signal_to_a_tick_ends_its_run_too(quick):
    nightly = quick(overlap="wait")
    command = [sys.executable, "-m", "jobs.cli", "schedule", "tick", nightly.file, "--now", DUE]
    with holding("the place", nightly.place.lease, "other"):
        called = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert called.stderr
        assert called.stderr.readline().startswith("regrow: Waiting for run other ")
        called.terminate()
        # Its run has the same pipe: it ends when both have ended.
        assert called.communicate(timeout=30) == (None, "")
    assert called.returncode == 143


def test_what_failed_is_tried_again_within_its_tick_but_wrong_use_is_not(quick, monkeypatch):
    monkeypatch.setattr(ticking, "RETRY_SECONDS", 0.1)
    nightly, told = quick("kind: reconstruct\narchive: none.regrow\ndestination: out\n", retries=2), []
    assert tick(nightly, moment(DUE), told.append) == 1
    again = "nightly-20261125T013000Z failed (exit status 1): again in 0.1 s"
    assert told == [again, again]
    found = read_record(nightly.place, nightly.run_id(moment(DUE)))
    assert (found.outcome, found.status, found.begun) == ("failed", 1, 3)
    assert "none.regrow" in found.message

    wrong = "kind: reconstruct\narchive: a.regrow\ndestination: out2\nwhere: no_column > 1\n"
    nightly, told = quick(wrong, retries=2), []
    assert tick(nightly, moment(DUE), told.append) == 2
    assert told == []


def test_ten_thousand_records_slow_nothing(tmp_path):
    hourly = schedule(tmp_path, cron="0 * * * *", zone="UTC")
    record(hourly, "2026-11-25T00:00:00Z", "done")
    content = (tmp_path / "out" / ".regrow" / "runs" / "nightly-20261125T000000Z.json").read_bytes()
    for hours in range(1, 10_000):
        at = moment("2026-11-25T00:00:00Z") - timedelta(hours=hours)
        (tmp_path / "out" / ".regrow" / "runs" / f"{hourly.run_id(at)}.json").write_bytes(content)
    began = time.monotonic()
    assert decide(hourly, moment("2026-11-25T00:30:00Z")).ticks == []
    assert len(history(hourly, moment("2026-11-25T00:30:00Z"), 20)) == 20
    assert time.monotonic() < began + 5


@pytest.mark.parametrize(
    "cron",
    [
        "30 2 * * *", "*/20 5-7 * * *", "0 3 1,15 * *", "15 4 * 1-3 mon-fri", "0 3 13 * 5", "5/20 * * * 7",
        "0 0 */2 * 1", "0 1 l * *", "0 1 * * 5#2", "0 1 lw * 3",
    ],
)  # fmt: skip
def test_cron_kubernetes_and_systemd_call_at_every_tick(tmp_path, cron):
    weekly = schedule(tmp_path, cron=f"'{cron}'", zone="America/New_York")
    begin, end = moment("2026-02-01T00:00:00Z"), moment("2026-04-15T00:00:00Z")
    ticks = set(takewhile(lambda at: at < end, weekly.after(begin)))
    fields = fields_of(weekly)
    assert re.fullmatch(r"(\*(/\d+)?|[\d,-]+)( (\*(/\d+)?|[\d,-]+)){4}", fields.cron()), fields.cron()
    called = set(takewhile(lambda at: at < end, after(fields.cron(), "America/New_York", begin)))
    assert ticks <= called
    assert ticks == called or not fields.exact
    calendars = fields.calendar("America/New_York")
    moved = [
        f"*-{one.month:02d}-* {one.hour:02d}:{one.minute:02d}:00 America/New_York" for one in moved_ticks(weekly, begin)
    ]
    for calendar in calendars:
        assert re.fullmatch(r"([A-Z][a-z]{2}(,[A-Z][a-z]{2})* )?\*-[\d,*]+-[\d,*]+ [\d,*]+:[\d,*]+:00 \S+", calendar)
    if shutil.which("systemd-analyze"):  # where it is not, the form of each line was checked above
        elapses = set().union(*(elapses_of(one, begin, end, 1000) for one in calendars + moved))
        assert ticks <= elapses


def elapses_of(calendar: str, begin: datetime, end: datetime, most: int) -> set[datetime]:
    """Return when systemd would call, by its own account."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={most}", f"--base-time={begin:%Y-%m-%d %H:%M:%S} UTC", calendar],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout)
    return {at for one in found if (at := datetime.fromisoformat(f"{one}+00:00")) < end}


def test_systemd_is_called_after_the_hour_that_it_leaves_out_and_finds_its_units_sound(tmp_path):
    folder = tmp_path / 'a folder of 100% "$HOME"'
    folder.mkdir()
    nightly = schedule(folder, deadline="6h", catch_up="skip")
    units = systemd(nightly)
    timer, service = units["regrow-nightly.timer"], units["regrow-nightly.service"]
    assert "OnCalendar=*-*-* 02:30:00 Europe/Berlin\n" in timer
    assert "OnCalendar=*-03-* 03:00:00 Europe/Berlin\n" in timer
    assert "Persistent=false\n" in timer
    assert r'tick "' in service
    assert '100%% \\"$$HOME\\"' in service
    assert f"TimeoutStartSec={6 * 3600 + 90}\n" in service
    if shutil.which("systemd-analyze"):  # where it is not, the lines that could be wrong are checked above
        for name, text in units.items():
            (tmp_path / name).write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "regrow-nightly" not in done.stdout + done.stderr, done.stderr


def test_a_crontab_says_the_zone_where_it_is_not_the_machines_and_reads_back(tmp_path, monkeypatch):
    folder = tmp_path / "100 % of it"
    folder.mkdir()
    nightly = schedule(folder, cron="'0 3 * * sun'")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert "CRON_TZ" not in crontab(nightly)["nightly.crontab"]
    monkeypatch.setenv("TZ", "UTC")
    *_, zone, line = crontab(nightly)["nightly.crontab"].splitlines()
    assert zone == "CRON_TZ=Europe/Berlin"
    assert line.startswith("0 3 * * 0 /")
    # cron itself takes the backslash before a % away, and gives the rest to sh.
    assert not re.search(r"(?<!\\)%", line)
    words = shlex.split(line.split(maxsplit=5)[5].replace("\\%", "%"))
    assert words[1:] == ["schedule", "tick", nightly.file, ">>", str(folder / "nightly.log"), "2>&1"]


def test_a_cronjob_is_refused_for_a_job_whose_paths_begin_at_its_folder(tmp_path, capsys):
    nightly = schedule(tmp_path)
    assert cli.run(["schedule", "emit", nightly.file, "--as", "cronjob"]) == 2
    said = capsys.readouterr().err
    assert ": archive begins at the job's folder, which is another one in a pod: write it in full" in said
    assert said.count("\n") == 1


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.mark.ray
@pytest.mark.parametrize(("more", "again"), [("", 40), ("new_since: last_run\n", 0)], ids=["all", "what is new"])
def test_a_reconstruction_ticks_twice_the_first_killed_and_nothing_is_lost_or_doubled(tmp_path, more, again):
    """A tick in a session of its own is killed while pictures are written; the next one takes its run up."""
    make_archive(tmp_path / "a.regrow", {f"{at:03}.jpg": jpeg(at, 480, 360) for at in range(40)})
    schedule(tmp_path)
    with (tmp_path / "job.yaml").open("a") as job:
        job.write(more)
    nightly = read_scheduled(str(tmp_path / "nightly.yaml"))
    out, first, second = tmp_path / "out", "2026-11-25T01:30:00Z", "2026-11-26T01:30:00Z"
    command = [sys.executable, "-m", "jobs.cli", "schedule", "tick", nightly.file, "--now", first]
    killed = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(out.glob("*.png"))) > 2 or killed.poll() is not None)
    finally:
        kill_session(killed)
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 2 < len(made) < 40, "it was not killed in the middle"
    run = nightly.run_id(moment(first))
    assert read_record(nightly.place, run).outcome == "running"

    told: list[str] = []
    assert tick(nightly, moment(second) + timedelta(minutes=1), told.append, quiet=True) == 0
    assert any("taking up run" in line for line in told)
    for at, images in ((first, 40), (second, again)):
        found = read_record(nightly.place, nightly.run_id(moment(at)))
        assert (found.outcome, found.counts.images, found.counts.done) == ("done", images, images)
    assert read_record(nightly.place, run).begun == 2
    pictures = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert sorted(pictures) == [f"{at:03}.jpg.png" for at in range(40)]
    assert {name: pictures[name] for name in made} == made, "what lay there was made once more"
    assert tick(nightly, moment(second) + timedelta(minutes=2), told.append) == 0
    assert "is done" in told[-1]


def test_now_is_the_clock_of_the_machine_where_none_is_said(tmp_path, capsys):
    schedule(tmp_path, cron="'* * * * *'")
    assert cli.run(["schedule", "next", str(tmp_path / "nightly.yaml"), "--count", "1"]) == 0
    found = next(moment(word) for word in capsys.readouterr().out.split() if word.endswith("00Z"))
    assert timedelta(0) <= found - datetime.now(UTC) + timedelta(seconds=5) <= timedelta(seconds=70)
    assert text_of(found).endswith(":00Z")
