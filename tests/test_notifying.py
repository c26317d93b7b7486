"""A webhook is told of runs that end badly; nothing fails of it, and its URL stands nowhere."""

import json
import shlex
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from jobs import cli, notifying
from jobs.errors import UsageError
from jobs.notifying import Notify, notify_from, refuse_written_out, send
from jobs.runs.bad_ends import BadEnd, document_of
from jobs.runs.lease import holding
from jobs.runs.places import place_of
from jobs.runs.record import RunRecord, put_record, read_record, request_digest
from jobs.schedules import ticking
from jobs.schedules.schedule import Scheduled, read_scheduled
from jobs.spec import read_job
from tests.archives import make_archive, small_images
from tests.receivers import SECRET, Receiver, receiving

DUE = "2026-11-25T01:30:00Z"
RUN = "nightly-20261125T013000Z"
HOOK = "notify:\n  webhook: ${TEST_WEBHOOK}\n"


@pytest.fixture
def receiver(monkeypatch):
    with receiving() as found:
        monkeypatch.setenv("TEST_WEBHOOK", found.url)
        yield found


@pytest.fixture
def sealing(tmp_path) -> Path:
    """A job that seals an archive, in which an image failed: without Ray, and with exit status 1."""
    make_archive(tmp_path / "a.regrow", {**small_images(), "bad.jpg": b"text"}, sealed=False)
    file = tmp_path / "job.yaml"
    file.write_text(f"kind: seal\narchive: a.regrow\n{HOOK}")
    return file


def nowhere() -> str:
    """A URL at which nobody listens."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}/services/{SECRET}"


def told_of(receiver: Receiver) -> dict:
    [document] = receiver.received
    return document


# What is sent, and when


def test_a_run_in_which_images_failed_is_told_with_its_counts_and_how_to_run_it_again(sealing, receiver, capsys):
    assert cli.run(["run", str(sealing), "--run-id", "tonight"]) == 1
    document = told_of(receiver)
    run = document["run"]
    archive = str(sealing.parent / "a.regrow")
    assert (run["id"], run["why"], run["kind"], run["place"]) == ("tonight", "some images failed", "seal", archive)
    assert (run["status"], run["host"]) == (1, socket.gethostname())
    assert "1 image failed (not_an_image 1): regrow failures " in run["message"]
    assert run["record"] == f"{archive}/runs/tonight.json"
    assert shlex.split(run["again"]) == ["regrow", "run", str(sealing), "--run-id", "tonight"]
    assert document["text"].startswith(f"regrow: run tonight (seal, {archive}) came to its end, but images failed. 1 ")
    assert receiver.requests == [f"POST /services/{SECRET} application/json; charset=utf-8"]
    assert json.loads(Path(run["record"]).read_text())["finished"] is True


def test_a_run_that_fails_is_told_though_its_place_takes_no_record(tmp_path, receiver, capsys):
    job = tmp_path / "job.yaml"
    job.write_text(f"kind: retry\narchive: none.regrow\n{HOOK}")
    assert cli.run(["run", str(job)]) == 1
    run = told_of(receiver)["run"]
    assert (run["why"], run["status"]) == ("failed", 1)
    assert "is no archive" in run["message"]
    assert list(tmp_path.iterdir()) == [job]


def test_a_run_that_is_done_is_told_to_nobody(tmp_path, receiver, capsys):
    make_archive(tmp_path / "a.regrow", sealed=False)
    job = tmp_path / "job.yaml"
    job.write_text(f"kind: seal\narchive: a.regrow\n{HOOK}")
    assert cli.run(["run", str(job)]) == 0
    assert receiver.requests == []


def test_a_run_that_was_cut_off_is_told_when_it_is_taken_up(sealing, receiver, capsys):
    request = read_job(str(sealing))
    before = RunRecord(
        id="x", kind="seal", request={}, digest=request_digest(request), started=DUE, host="gpu-7", pid=7
    )
    put_record(place_of(request), before)
    assert cli.run(["run", str(sealing), "--run-id", "x"]) == 1
    first, second = receiver.received
    assert (first["run"]["why"], first["run"]["host"], first["run"]["started"]) == ("cut off", "gpu-7", DUE)
    assert "was cut off, and is taken up now" in first["text"]
    assert second["run"]["why"] == "some images failed"


# Ticks of schedules


@pytest.fixture
def nightly(tmp_path, sealing, monkeypatch):
    """Make a schedule of the sealing job, which says itself who is told."""
    monkeypatch.setattr(ticking, "RETRY_SECONDS", 0.1)
    sealing.write_text("kind: seal\narchive: a.regrow\n")

    def make(job: str | None = None, **fields: object) -> Scheduled:
        if job:
            sealing.write_text(job)
        lines = ["cron: '30 2 * * *'", "zone: Europe/Berlin", "job: job.yaml"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        (tmp_path / "nightly.yaml").write_text("\n".join(lines) + f"\n{HOOK}")
        return read_scheduled(str(tmp_path / "nightly.yaml"))

    return make


def tick(scheduled: Scheduled) -> int:
    return cli.run(["schedule", "tick", scheduled.file, "--now", DUE])


def test_a_tick_is_told_once_after_its_last_try(nightly, receiver, capfd):
    scheduled = nightly("kind: retry\narchive: none.regrow\n", retries=2)
    assert tick(scheduled) == 1
    assert capfd.readouterr().err.count("again in ") == 2
    run = told_of(receiver)["run"]
    assert (run["id"], run["why"], run["schedule"], run["tick"]) == (RUN, "failed", "nightly", DUE)
    assert run["again"] == f"regrow run {scheduled.job} --run-id {RUN}"


def test_a_tick_in_which_images_failed_is_told_with_what_its_record_says(nightly, receiver, capfd):
    assert tick(nightly()) == 1
    run = told_of(receiver)["run"]
    assert (run["why"], run["schedule"], run["status"]) == ("some images failed", "nightly", 1)
    assert "1 image failed (not_an_image 1)" in run["message"]


def test_a_tick_of_which_the_last_was_cut_off_tells_of_both(nightly, receiver, capfd):
    scheduled = nightly()
    before = RunRecord(
        id=RUN, kind="seal", request={}, digest=request_digest(scheduled.request), started=DUE, schedule="nightly",
        tick=DUE, host="gpu-7",
    )  # fmt: skip
    put_record(scheduled.place, before)
    assert tick(scheduled) == 1
    assert [document["run"]["why"] for document in receiver.received] == ["cut off", "some images failed"]


def test_a_tick_whose_deadline_has_passed_is_told(nightly, receiver, capfd):
    scheduled = nightly(deadline="2s", overlap="wait")
    with holding("the place", scheduled.place.lease, "other"):
        assert tick(scheduled) >= 128
    document = told_of(receiver)
    assert document["run"]["why"] == "deadline passed"
    assert "was stopped, since its deadline has passed; the next tick goes on with it" in document["text"]


def test_a_run_that_was_killed_is_told_by_its_tick(nightly, receiver, capfd, monkeypatch):
    scheduled = nightly()
    [start] = [ticking._start]

    def killed(*given, **named):
        child = start(*given, **named)
        child.kill()
        return child

    monkeypatch.setattr(ticking, "_start", killed)
    assert tick(scheduled) == 128 + 9
    run = told_of(receiver)["run"]
    assert (run["why"], run["status"], run["message"]) == ("failed", 137, "it was killed by signal 9")


def test_a_schedule_is_checked_with_who_is_told_and_without_the_url(nightly, receiver, capsys, monkeypatch):
    scheduled = nightly()
    assert cli.run(["schedule", "check", scheduled.file]) == 0
    out = capsys.readouterr().out
    assert "a webhook by TEST_WEBHOOK, when a run ends badly" in out
    assert SECRET not in out
    monkeypatch.delenv("TEST_WEBHOOK")
    cli.run(["schedule", "check", scheduled.file])
    assert "not set here: TEST_WEBHOOK" in capsys.readouterr().out


# Receivers that do not take it


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (nowhere, "regrow: the webhook was not told: Connection refused"),
        (lambda: f"http://no.such.host.invalid/{SECRET}", "regrow: the webhook was not told: "),
        (
            lambda: f"ftp://127.0.0.1/{SECRET}",
            "regrow: the webhook was not told: what TEST_WEBHOOK holds is no http(s)",
        ),
        (lambda: f"http://127.0.0.1:x{SECRET}/", "regrow: the webhook was not told: InvalidURL"),
        (lambda: f"http://127.0.0.1/{SECRET} with a blank", "regrow: the webhook was not told: InvalidURL"),
        (lambda: "", "regrow: the webhook was not told: the environment variable TEST_WEBHOOK is not set"),
    ],
)
def test_a_webhook_that_cannot_be_reached_is_a_line_and_fails_nothing(sealing, hook, said, monkeypatch, capsys):
    monkeypatch.setattr(notifying, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("TEST_WEBHOOK", hook())
    assert cli.run(["run", str(sealing), "--run-id", "x", "--quiet"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(said)
    assert len(lines) == 2, "the other one is about the image"
    assert SECRET not in "".join(lines)
    record = read_record(place_of(read_job(str(sealing))), "x")
    assert record
    assert record.outcome == "failed"


@pytest.mark.parametrize(
    ("answers", "tries", "said"),
    [
        ([503, 200], 2, []),
        ([429, 200], 2, []),
        ([500], 2, ["the webhook was not told: it answered 500"]),
        ([404], 1, ["the webhook was not told: it answered 404"]),
        ([302], 1, ["the webhook was not told: it answered 302"]),
        ([307], 1, ["the webhook was not told: it answered 307"]),
    ],
)
def test_what_may_pass_is_tried_once_more_and_nobody_is_followed_elsewhere(receiver, answers, tries, said, monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_SECONDS", 0.0)
    receiver.answers, warned = answers, []
    send(Notify(webhook="${TEST_WEBHOOK}"), {"text": "x"}, warned.append)
    assert len(receiver.requests) == tries
    assert all(request.startswith("POST /services/") for request in receiver.requests)
    assert warned == said


def test_a_receiver_that_does_not_answer_is_not_waited_for(receiver, monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(notifying, "TRY_SECONDS", 0.3)
    receiver.delay, warned, started = 5.0, [], time.monotonic()
    send(Notify(webhook="${TEST_WEBHOOK}"), {"text": "x"}, warned.append)
    assert time.monotonic() - started < 3
    assert len(warned) == 1
    assert warned[0] in ("the webhook was not told: no answer within 0.3 s", "the webhook was not told: TimeoutError")


# The URL


def test_the_url_stands_in_no_record_and_no_line(sealing, receiver, capsys):
    sealing.write_text(f"kind: seal\narchive: a.regrow\nnotify:\n  webhook: {receiver.url}\n")
    assert cli.run(["run", str(sealing), "--run-id", "x"]) == 1
    assert told_of(receiver)["run"]["id"] == "x"
    said = "".join(capsys.readouterr()) + repr(notifying.read_notify(str(sealing)))
    records = "".join(file.read_text() for file in (sealing.parent / "a.regrow" / "runs").iterdir())
    assert SECRET not in said + records + json.dumps(receiver.received)


@pytest.mark.parametrize(
    "found",
    [
        f"https://hooks.example.com/{SECRET}",
        [f"https://hooks.example.com/{SECRET}"],
        {"webhook": [f"https://hooks.example.com/{SECRET}"]},
        {"webhook": f"hooks.example.com/{SECRET}"},
        {"webhook": "https://"},
        {"webhok": f"https://hooks.example.com/{SECRET}"},
        {f"https://hooks.example.com/{SECRET}": None},
        {},
    ],
)
def test_what_is_wrong_in_notify_is_told_in_a_line_that_does_not_show_it(found, tmp_path, capsys):
    with pytest.raises(UsageError) as raised:
        notify_from(found)
    assert SECRET not in str(raised.value)
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"kind": "retry", "archive": "a.regrow", "notify": found}))
    (tmp_path / "nightly.yaml").write_text(json.dumps({"cron": "0 1 * * *", "job": "job.yaml", "notify": found}))
    for command in (["run", str(job)], ["schedule", "check", str(tmp_path / "nightly.yaml")]):
        assert cli.run(command) == 2
        said = capsys.readouterr().err
        assert "field notify: write a mapping with webhook" in said
        assert SECRET not in said


def test_a_url_may_be_made_of_variables_in_part(receiver, monkeypatch):
    monkeypatch.setenv("HOOK_PATH", SECRET)
    base, _, _ = receiver.url.rpartition("/")
    send(Notify(webhook=base + "/${HOOK_PATH}"), {"text": "x"}, pytest.fail)
    assert receiver.received == [{"text": "x"}]


def test_a_url_that_is_written_out_goes_into_no_manifest(nightly, tmp_path, capsys):
    refuse_written_out(Notify(webhook="${TEST_WEBHOOK}"))
    scheduled = nightly("kind: seal\narchive: s3://bucket/a.regrow\n")
    assert cli.run(["schedule", "emit", scheduled.file, "--as", "cronjob"]) == 0
    out = capsys.readouterr().out
    assert "Put into the container's environment, from a Secret: TEST_WEBHOOK." in out
    assert "webhook: ${TEST_WEBHOOK}" in out
    written = f"notify:\n  webhook: https://hooks.example.com/{SECRET}\n"
    Path(scheduled.file).write_text(f"cron: '0 1 * * *'\njob: job.yaml\n{written}")
    Path(scheduled.job).write_text(f"kind: seal\narchive: s3://bucket/a.regrow\n{written}")
    for command in (
        ["schedule", "emit", scheduled.file, "--as", "cronjob"],
        ["cluster", "emit", "kuberay", scheduled.job, "--as", "ray-job"],
    ):
        assert cli.run(command) == 2
        out, err = capsys.readouterr()
        assert "notify.webhook is written out" in err
        assert SECRET not in out + err


# The line for people


def test_a_name_of_a_file_is_no_command_of_the_receiver():
    end = BadEnd(
        id="x", why="failed", kind="archive", place="a&b", record="r", again="regrow run x", host="h", status=1,
        message="<!channel> <https://evil|a.jpg>\nand more",
    )  # fmt: skip
    text = document_of(end)["text"]
    assert "\n" not in text
    assert "&lt;!channel&gt; &lt;https://evil|a.jpg&gt;" in text
    assert "a&amp;b" in text
    assert document_of(end)["run"]["message"] == end.message
