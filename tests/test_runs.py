"""Records of runs, runs that are run once, and the lease that keeps two from meeting."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
import yaml

from jobs import cli
from jobs.runs import lease as leases
from jobs.runs.lease import Held, Lease, holding, read_lease
from jobs.runs.places import place_of
from jobs.runs.record import RunRecord, put_record, read_record, request_digest, request_fields
from jobs.spec import KINDS, parse_job, read_job
from jobs.stopping import Interrupted, Stopping
from ops.archive.layout import locate
from ops.archive.reading import Archive
from ops.stores import open_store
from tests.archives import check_with_standalone_reader, grow_archive, make_archive, small_images
from tests.runs import jpeg

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "jobs" / "examples"


@pytest.fixture
def job(tmp_path):
    """A job that a sealed archive without failures answers at once, without Ray."""
    make_archive(tmp_path / "a.regrow")
    file = tmp_path / "job.yaml"
    file.write_text("kind: retry\narchive: a.regrow\n")
    return file


def record_of(job: Path, run_id: str) -> RunRecord:
    found = read_record(place_of(read_job(str(job))), run_id)
    assert found is not None
    return found


def test_a_run_leaves_a_record_in_its_archive(job, tmp_path, capsys):
    assert cli.run(["run", str(job)]) == 0
    [file] = (tmp_path / "a.regrow" / "runs").iterdir()
    record = json.loads(file.read_bytes())
    assert file.stem == record["id"]
    assert (record["kind"], record["outcome"], record["status"]) == ("retry", "done", 0)
    assert record["request"] == {"kind": "retry", "archive": str(tmp_path / "a.regrow")}
    assert record["started"] <= record["ended"]
    assert record["versions"].startswith("regrow ")
    assert record["resources"]["machine"]["cpus"] >= 1
    assert record["pid"] == os.getpid()
    assert record["schedule"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_recorded_as_a_job_file_would_say_it(kind):
    request = read_job(str(EXAMPLES / f"{kind}.yaml"))
    fields = msgspec.json.decode(msgspec.json.encode(request_fields(request)))
    assert parse_job(yaml.safe_dump(fields)) == request


def test_what_is_refused_leaves_nothing_behind(tmp_path, capsys):
    for command in (
        ["archive", str(tmp_path / "nowhere"), str(tmp_path / "a.regrow"), "--codec", "bicubic-x4"],
        ["reconstruct", str(tmp_path / "nowhere.regrow"), str(tmp_path / "pictures")],
        ["evaluate", str(tmp_path / "nowhere.regrow"), "--to", str(tmp_path / "e")],
    ):
        assert cli.run(command) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_first_archive_that_is_refused_leaves_no_folder_also_when_its_run_has_an_id(tmp_path, capsys):
    job = tmp_path / "job.yaml"
    job.write_text("kind: archive\nsource: nowhere\narchive: new/places/a.regrow\ncodec: bicubic-x4\n")
    assert cli.run(["run", str(job), "--run-id", "x"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [job]
    # A folder that was there stays, and what others put into a new one.
    (tmp_path / "new").mkdir()
    assert cli.run(["run", str(job), "--run-id", "x"]) == 1
    assert set(tmp_path.rglob("*")) == {tmp_path / "new", job}
    with holding("the place", str(tmp_path / "made" / "here" / "lease"), "x"):
        (tmp_path / "made" / "mine").write_text("mine")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine"]


def test_a_run_in_which_images_failed_has_come_to_its_end_and_one_that_raised_has_not(tmp_path, capsys):
    make_archive(tmp_path / "a.regrow", {**small_images(), "bad.jpg": b"text"}, sealed=False)
    job = tmp_path / "job.yaml"
    job.write_text("kind: seal\narchive: a.regrow\n")
    assert cli.run(["run", str(job), "--run-id", "x", "--some-may-fail"]) == 0
    assert "1 image failed" in capsys.readouterr().err
    record = record_of(job, "x")
    assert (record.outcome, record.finished, record.status) == ("failed", True, 1)
    # What it was asked for is wrong: that is no image's failure.
    job.write_text("kind: archive\nsource: nowhere\narchive: a.regrow\n")
    assert cli.run(["run", str(job), "--run-id", "y", "--some-may-fail"]) == 1
    record = record_of(job, "y")
    assert (record.outcome, record.finished, record.status) == ("failed", False, 1)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_reconstruction_records_bytes_of_pictures_failures_by_code_and_its_budget(tmp_path, capsys):
    location = make_archive(tmp_path / "a.regrow", {f"{number}.jpg": jpeg(number) for number in range(3)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.jpg.png").write_bytes(b"mine")
    job = tmp_path / "job.yaml"
    job.write_text("kind: reconstruct\narchive: a.regrow\ndestination: out\n")
    assert cli.run(["run", str(job), "--run-id", "x"]) == 1
    record = record_of(job, "x")
    assert record.counts.failures == {"not_put": 1}
    assert (record.counts.images, record.counts.done, record.finished) == (3, 3, True)
    pictures = [tmp_path / "out" / f"{number}.jpg.png" for number in (1, 2)]
    assert record.counts.bytes_out == sum(picture.stat().st_size for picture in pictures)
    assert record.resources["budget"]["num_actors"] >= 1
    assert record.resources["machine"]["cpus"] >= 1
    assert location.url == record.request["archive"]


def test_records_inside_an_archive_disturb_nobody(job, tmp_path, capsys):
    for _ in range(2):
        assert cli.run(["run", str(job)]) == 0
    location = locate(str(tmp_path / "a.regrow"))
    before = len(Archive.open(location.url))
    grow_archive(location, {"new.jpg": small_images(1).popitem()[1]})
    assert len(Archive.open(location.url)) == before + 1
    assert cli.run(["seal", location.url]) == 0
    assert len(list((tmp_path / "a.regrow" / "runs").iterdir())) == 3
    assert check_with_standalone_reader(location.url).startswith("sealed: ")


def test_a_place_that_takes_no_record_is_told_in_a_line_and_fails_nothing(job, tmp_path, capsys):
    (tmp_path / "a.regrow" / "runs").write_text("a file where a folder is needed")
    assert cli.run(["run", str(job)]) == 0
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "no record of this run is kept: " in line] == err


def test_a_run_that_is_done_is_not_run_again(job, capsys):
    assert cli.run(["run", str(job), "--run-id", "tonight"]) == 0
    first = record_of(job, "tonight")
    capsys.readouterr()
    assert cli.run(["run", str(job), "--run-id", "tonight"]) == 0
    assert capsys.readouterr() == ("", f"regrow: run tonight is done since {first.ended}: nothing is run again\n")
    assert record_of(job, "tonight") == first


@pytest.mark.parametrize("outcome", ["running", "failed", "stopped"])
def test_a_run_that_did_not_come_to_its_end_is_taken_up(job, outcome):
    request = read_job(str(job))
    before = RunRecord(
        id="x", kind="retry", request={}, digest=request_digest(request), started="2026-11-24T01:30:00Z",
        outcome=outcome, schedule="nightly", tick="2026-11-24T01:30:00Z",
    )  # fmt: skip
    put_record(place_of(request), before)
    assert cli.run(["run", str(job), "--run-id", "x"]) == 0
    after = record_of(job, "x")
    assert (after.outcome, after.begun) == ("done", 2)
    assert (after.schedule, after.tick) == (before.schedule, before.tick)


def test_an_id_belongs_to_its_settings(job, capsys):
    assert cli.run(["run", str(job), "--run-id", "x"]) == 0
    job.write_text(job.read_text() + "codes: [vanished]\n")
    capsys.readouterr()
    assert cli.run(["run", str(job), "--run-id", "x"]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert "with other settings: give another --run-id, or remove " in said
    # Where it runs is no part of them.
    job.write_text("kind: retry\narchive: a.regrow\naddress: ray://elsewhere:10001\n")
    assert cli.run(["run", str(job), "--run-id", "x"]) == 0


@pytest.mark.parametrize("run_id", ["", "a/b", "..", "ä", "x" * 81])
def test_an_id_that_cannot_name_a_record_is_wrong_use(job, run_id, capsys):
    assert cli.run(["run", str(job), "--run-id", run_id]) == 2
    assert "write 1 to 80 of A-Z a-z 0-9 . _ -" in capsys.readouterr().err


HOLD = """
import sys, time
from jobs.runs.lease import holding
with holding("the place", sys.argv[1], "other"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def hold():
    """Hold a lease from another process."""
    started = []

    def start(url: str, seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, url, str(seconds)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_second_run_is_refused_and_told_who_works_there(job, hold, capsys):
    other = hold(place_of(read_job(str(job))).lease, 60)
    assert cli.run(["run", str(job), "--run-id", "x"]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert "is worked on by run other (on " in said
    assert f"pid {other.pid}, " in said
    # One that was killed, and not even reaped, is taken over at once.
    other.kill()
    started = time.monotonic()
    while cli.run(["run", str(job), "--run-id", "x"]) and time.monotonic() < started + 10:
        time.sleep(0.05)
    assert record_of(job, "x").outcome == "done"
    assert [path.name for path in Path(place_of(read_job(str(job))).url).glob("lease*")] == []


def test_a_living_run_is_waited_for(tmp_path, hold, monkeypatch):
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.05)
    url, said = str(tmp_path / "lease"), []
    hold(url, 1.0)
    with holding("the place", url, "mine", wait=True, say=said.append):
        found = read_lease(open_store(url), url)
        assert found
        assert found.run == "mine"
    assert len(said) == 1
    assert said[0].startswith("Waiting for run other (on ")


def lease_of_another_machine(renewals: int = 0) -> bytes:
    lease = Lease(
        owner="o", run="other", host="elsewhere", pid=1, machine="m", process="1", since="", renewals=renewals
    )
    return msgspec.json.encode(lease)


def test_another_machines_lease_is_dead_once_it_stands_still(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.5)
    url = str(tmp_path / "lease")
    Path(url).write_bytes(lease_of_another_machine())
    started = time.monotonic()
    with holding("the place", url, "mine") as is_ours:
        assert time.monotonic() > started + 0.5
        assert is_ours()

    stop = threading.Event()

    def renew() -> None:
        renewals = 0
        while not stop.wait(0.1):
            renewals += 1
            open_store(url).put(url, lease_of_another_machine(renewals))

    open_store(url).put(url, lease_of_another_machine())
    living = threading.Thread(target=renew)
    living.start()
    try:
        with pytest.raises(Held, match="run other \\(on elsewhere, pid 1, "), holding("the place", url, "mine"):
            pass
    finally:
        stop.set()
        living.join()


def test_of_many_that_find_a_dead_lease_one_at_a_time_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(leases, "STALE_SECONDS", 1.0)
    url, inside, most, done = str(tmp_path / "lease"), [], [0], []
    Path(url).write_bytes(lease_of_another_machine())

    def work(number: int) -> None:
        with holding("the place", url, f"{number}", wait=True):
            inside.append(number)
            most[0] = max(most[0], len(inside))
            time.sleep(0.05)
            inside.remove(number)
        done.append(number)

    # Threads of one process see each other as living; the dead one is of another machine.
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (most, sorted(done)) == ([1], list(range(8)))
    assert list(tmp_path.iterdir()) == []


def work_until_stopped(url: str) -> None:
    with Stopping(lambda: None), holding("the place", url, "mine") as is_ours:
        # Again and again: a renewal that was under way may have the last word once.
        while is_ours():
            open_store(url).put(url, lease_of_another_machine())
            time.sleep(0.2)
        time.sleep(5)


def test_a_run_whose_lease_was_taken_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.05)
    url = str(tmp_path / "lease")
    with pytest.raises(Interrupted):
        work_until_stopped(url)
    assert Path(url).read_bytes() == lease_of_another_machine(), "the other one's lease was removed"


def test_who_died_while_it_took_over_a_dead_lease_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.3)
    url = str(tmp_path / "lease")
    Path(url).write_bytes(lease_of_another_machine())
    Path(f"{url}.o").write_bytes(lease_of_another_machine())
    with holding("the place", url, "mine") as is_ours:
        assert is_ours()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_on_s3_a_run_is_run_once_too(s3, tmp_path, capsys):
    make_archive(f"{s3}/a.regrow")
    job = tmp_path / "job.yaml"
    job.write_text(f"kind: retry\narchive: {s3}/a.regrow\n")
    place = place_of(read_job(str(job)))
    with (
        holding("the place", place.lease, "other"),
        pytest.raises(Held),
        holding("the place", place.lease, "mine"),
    ):
        pass
    for said in ("has no failures", "is done since"):
        assert cli.run(["run", str(job), "--run-id", "x"]) == 0
        out, err = capsys.readouterr()
        assert said in out + err or said == "has no failures"
    assert record_of(job, "x").begun == 1
