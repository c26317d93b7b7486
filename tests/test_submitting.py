"""Jobs on a cluster: a Ray head with a token, started by hand, to which job files are submitted.

The head is a process of its own, ended by its own handle.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import jobs
from clusters import submission
from clusters.versions import CLIENT, Versions, refuse_other_client, versions_here
from jobs import cli
from jobs.errors import InputError
from jobs.spec import read_job
from jobs.submitting import submission_id
from ops.archive.reading import Archive
from pipelines.metrics import COUNTERS, SECONDS
from tests.runs import photographs, put_files

TOKEN = "5" * 64


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0", **more}


@pytest.fixture(scope="module")
def started():
    """The addresses of the job server and of the metrics of a head with two processors."""
    port, metrics = free_port(), free_port()
    with tempfile.TemporaryDirectory(
        prefix="rg", dir="/tmp", ignore_cleanup_errors=True
    ) as scratch:  # Ray's sockets want short paths
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2",
            "--node-ip-address=127.0.0.1", f"--port={free_port()}", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}",
            f"--ray-client-server-port={free_port()}", f"--object-store-memory={200 << 20}", f"--temp-dir={scratch}",
            f"--metrics-export-port={metrics}",
        ]  # fmt: skip
        told = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, REGROW_PYTHON=sys.executable)
        process = subprocess.Popen(
            command, env=told, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until_it_answers(port, process)
            yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics"
        finally:
            process.terminate()  # it ends what it has started
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)


@pytest.fixture
def head(started):
    return started[0]


def wait_until_it_answers(port: int, process: subprocess.Popen) -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            submission.check_answers(f"http://127.0.0.1:{port}")
            return
        except ConnectionError:
            time.sleep(0.1)
    raise TimeoutError("the head does not answer")


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def archive_job(folder: Path, number: int = 6) -> str:
    put_files(str(folder / "photos"), photographs(number))
    (folder / "job.yaml").write_text("kind: archive\nsource: photos\narchive: a.regrow\ncodec: bicubic-x4\n")
    return str(folder / "job.yaml")


@pytest.mark.ray
def test_a_submitted_job_runs_on_the_cluster_with_our_code_and_is_followed_to_its_end(head, token, tmp_path, capsys):
    job = archive_job(tmp_path)
    assert cli.run(["job", "submit", job, "--address", head]) == 0
    told = capsys.readouterr()
    assert "6 images" in told.out
    archive = Archive.open(str(tmp_path / "a.regrow"))
    assert len(archive) == 6
    [record] = (tmp_path / "a.regrow" / "runs").glob("*.json")
    recorded = json.loads(record.read_text())
    assert recorded["outcome"] == "done"
    assert recorded["resources"]["address"]
    assert recorded["resources"]["budget"]["num_actors"] == 1
    assert told.err == f"regrow: submitted as {record.stem} to {head}\n"

    assert cli.run(["job", "list", "--address", head, "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["status"]) == (record.stem, "SUCCEEDED")
    assert cli.run(["job", "logs", record.stem, "--address", head]) == 0
    assert "6 images" in capsys.readouterr().out
    assert cli.run(["job", "stop", record.stem, "--address", head]) == 0
    assert "was over already (succeeded)" in capsys.readouterr().out

    # That run has ended: the same job is a run of its own now, which adds what is new at the source.
    put_files(str(tmp_path / "photos"), photographs(2, first=6))
    assert cli.run(["job", "submit", job, "--address", head, "--quiet"]) == 0
    assert len(Archive.open(str(tmp_path / "a.regrow"))) == 8


@pytest.mark.ray
def test_prometheus_sees_what_workers_have_done(started, token, tmp_path):
    """Ray's agent exports what workers count every few seconds."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    job = archive_job(tmp_path, 7)
    cli.run(["job", "submit", job, "--address", started[0], "--quiet"])
    wanted = {
        ("regrow_images_total", "archive", "good"): 7,
        ("regrow_images_total", "archive", "failed"): 1,
    }
    for _ in range(150):
        found = scraped(started[1])
        if all(found.get(key, 0) >= number for key, number in wanted.items()):
            break
        time.sleep(0.2)
    assert all(found[key] >= number for key, number in wanted.items()), found
    assert found["regrow_failures_total", "archive", "not_an_image"] == 1
    assert found["regrow_stage_seconds_count", "archive", "work"] >= 1


def scraped(url: str) -> Counter[tuple[str, ...]]:
    """Sums of our own metrics over workers, by name and the values of the tags that we gave them, in their order."""
    sums: Counter[tuple[str, ...]] = Counter()
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    for line in lines:
        if named := re.fullmatch(r"ray_(regrow_\w+)\{(.*)\} (\S+)", line):
            tags = dict(re.findall(r'(\w+)="([^"]*)"', named[2]))
            key = [named[1], *(tags[name] for name in ("job", "stage", "outcome", "code") if name in tags)]
            sums[tuple(key)] += float(named[3])
    return sums


def test_the_dashboard_asks_for_metrics_that_there_are():
    dashboard = json.loads((Path(jobs.__file__).parent / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_(regrow_\w+)", target["expr"])
    }
    of_seconds = {f"{SECONDS}_bucket", f"{SECONDS}_sum"}
    assert asked == {*COUNTERS, *of_seconds}


@pytest.mark.ray
def test_a_run_that_is_under_way_is_not_started_twice_and_is_stopped_by_name(head, token, tmp_path, capsys):
    job = archive_job(tmp_path, 2)
    server = submission.JobServer(head)
    name = submission_id(read_job(job), server.jobs())
    (tmp_path / "empty").mkdir()
    server.submit(name, "sleep 600", tmp_path / "empty", {}, regrow="a run that takes long")
    assert cli.run(["job", "submit", job, "--address", head]) == 1
    assert f"regrow job logs {name}\n" in capsys.readouterr().err
    with pytest.raises(submission.AlreadySubmitted, match="it is not started twice"):  # two who asked at once
        server.submit(name, "sleep 600", tmp_path / "empty", {})
    assert cli.run(["job", "stop", name, "--address", head]) == 0
    assert f"{name} is asked to stop" in capsys.readouterr().out
    for _ in range(200):
        if server.find(name).is_over:
            break
        time.sleep(0.1)
    with pytest.raises(InputError, match=f"{name} stopped: "):
        cli_follow(server, name)
    assert submission_id(read_job(job), server.jobs()).endswith("-2")


def cli_follow(server: submission.JobServer, name: str) -> int:
    from jobs.submitting import follow_job  # noqa: PLC0415

    return follow_job(server, name)


@pytest.mark.ray
def test_what_fails_on_the_cluster_fails_here(head, token, tmp_path, capsys):
    (tmp_path / "job.yaml").write_text("kind: archive\nsource: none\narchive: a.regrow\ncodec: bicubic-x4\n")
    assert cli.run(["job", "submit", str(tmp_path / "job.yaml"), "--address", head]) == 1
    told = capsys.readouterr()
    assert "does not exist; check the spelling" in told.out
    assert "-1 failed: " in told.err
    assert not list((tmp_path / "a.regrow").glob("*"))


def test_a_job_from_another_python_is_refused_where_it_runs():
    here = versions_here()
    refuse_other_client({})
    refuse_other_client({CLIENT: here.tag})
    other = Versions(ray=here.ray, python="3.9")
    with pytest.raises(ConnectionError, match=r"this machine Ray .* on Python 3\.9, and they must be the same"):
        refuse_other_client({CLIENT: other.tag})


@pytest.mark.ray
def test_a_missing_and_a_wrong_token_and_another_version_are_told(head, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(ConnectionError, match=f"{head} wants a token: put the cluster's into RAY_AUTH_TOKEN"):
        submission.JobServer(head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "4" * 64)
    with pytest.raises(ConnectionError, match="does not take the token that is here"):
        submission.JobServer(head)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert submission.JobServer(head).address == head
    ours = submission.versions_here()
    monkeypatch.setattr(submission, "versions_here", lambda: submission.Versions(ray="2.61.0", python=ours.python))
    with pytest.raises(ConnectionError, match=r"the cluster runs Ray .* this machine Ray 2.61.0"):
        submission.JobServer(head)


def test_where_nobody_answers_or_no_cluster_is_named_a_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    job = archive_job(tmp_path, 1)
    for options, status, said in [
        ([], 2, "say where the job is to run: --cluster NAME, or --address http://head:8265"),
        (["--address", f"http://127.0.0.1:{free_port()}"], 1, "cannot be joined: "),
        (["--address", "ray://127.0.0.1:10001"], 1, "jobs are submitted to the dashboard"),
        (["--cluster", "laptop"], 2, "cluster laptop has no dashboard"),
        (["--cluster", "laptob"], 2, "no cluster 'laptob'"),
    ]:
        assert cli.run(["job", "submit", job, *options]) == status
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
