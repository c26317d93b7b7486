"""Log lines of a run say which run, and which chunk, they are of: the driver's and those of Ray's workers."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusters import logs
from jobs import cli
from ops.archive.layout import ArchiveError, locate
from ops.archive.plan import read_plan
from tests.archives import make_archive, small_images
from tests.runs import Run, jpeg, put_files, request

ROOT = Path(__file__).parents[1]
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<level>[A-Z]+)(?P<tags>( \w+=\S+)*) (?P<logger>[\w.]+): .+"
)


@pytest.fixture
def sealing(tmp_path) -> Path:
    """A job that seals an archive, in which an image failed, without Ray."""
    make_archive(tmp_path / "a.regrow", {**small_images(), "bad.jpg": b"text"}, sealed=False)
    file = tmp_path / "job.yaml"
    file.write_text("kind: seal\narchive: a.regrow\n")
    return file


def test_a_driver_logs_where_it_is_asked_to_and_each_line_says_its_run(sealing, capsys, monkeypatch):
    monkeypatch.setenv(logs.LOG, "text")
    assert cli.run(["run", str(sealing), "--run-id", "tonight"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(str(sealing.parent / "a.regrow"))
    *lines, result = err.splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert [(line["level"], line["tags"], line["logger"]) for line in found if line] == [
        ("INFO", " run=tonight", "jobs.progress"),
        ("ERROR", " run=tonight", "jobs.runs.recording"),
    ]
    assert lines[1].endswith(
        f"failed: exit status 1, 1 image failed (not_an_image 1): regrow failures {sealing.parent}/a.regrow"
    )
    assert result.startswith("regrow: 1 image failed")


def test_lines_for_programs_are_objects(sealing, capsys, monkeypatch):
    monkeypatch.setenv(logs.LOG, "json")
    cli.run(["run", str(sealing), "--run-id", "tonight"])
    *lines, _ = capsys.readouterr().err.splitlines()
    found = [json.loads(line) for line in lines]
    assert [(line["level"], line["run"], line["logger"]) for line in found] == [
        ("INFO", "tonight", "jobs.progress"),
        ("ERROR", "tonight", "jobs.runs.recording"),
    ]
    assert found[0]["message"] == "Sealing: merging what is done into packs and a catalog"


def test_a_form_that_there_is_not_is_wrong_use(sealing, capsys, monkeypatch):
    monkeypatch.setenv(logs.LOG, "xml")
    assert cli.run(["run", str(sealing)]) == 2
    assert capsys.readouterr().err == "regrow: REGROW_LOG is 'xml': write text or json, or unset it\n"


def test_without_being_asked_a_command_says_what_it_always_said(sealing):
    command = [sys.executable, "-m", "jobs.cli", "run", str(sealing)]
    environment = {name: value for name, value in os.environ.items() if name != logs.LOG}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["Sealing", "regrow"]


def test_logging_is_left_as_it_was(sealing, capsys, monkeypatch):
    before = [(logger.handlers[:], logger.level) for logger in map(logging.getLogger, ("jobs", "pipelines"))]
    monkeypatch.setenv(logs.LOG, "json")
    cli.run(["run", str(sealing)])
    assert before == [(logger.handlers[:], logger.level) for logger in map(logging.getLogger, ("jobs", "pipelines"))]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_of_an_error_holds_its_traceback(form):
    handler = logs._handler(form)
    try:
        raise ZeroDivisionError("no number")
    except ZeroDivisionError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "%s ended", ("it",), (type(error), error, None))
    with logs.of_run("r"), logs.of_chunk("c"):
        line = handler.format(record)
    if form == "json":
        found = json.loads(line)
        assert (found["run"], found["chunk"], found["message"]) == ("r", "c", "it ended")
        assert found["exception"].endswith("ZeroDivisionError: no number")
    else:
        first, *rest = line.splitlines()
        assert first.endswith("Z ERROR run=r chunk=c x: it ended")
        assert rest[-1] == "ZeroDivisionError: no number"


def lines_of_workers(run: str) -> list[str]:
    """Return what the workers of the session have written of a run, once Ray's files have it."""
    from ray._private import worker  # noqa: PLC0415  only here

    folder = Path(worker._global_node.get_session_dir_path()) / "logs"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = [
            line for file in folder.glob("worker-*.err") for line in file.read_text("utf-8", "replace").splitlines()
        ]
        found = [line for line in lines if f" run={run} " in line]
        if any("has done" in line or "failed" in line for line in found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"no worker has logged of {run}")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_workers_log_each_chunk_with_its_run(tmp_path):
    source = put_files(str(tmp_path / "photos"), {"a.jpg": jpeg(1), "b.jpg": jpeg(2), "bad.jpg": b"text"})
    with logs.of_run("of-workers"):
        done = Run(request(source, tmp_path / "a"))
    [chunk] = done.chunks
    lines = lines_of_workers("of-workers")
    assert all(LINE.fullmatch(line) for line in lines)
    of_chunk = [line for line in lines if f" run=of-workers chunk={chunk} pipelines.streaming: " in line]
    assert [re.sub(r"[\d.]+ s", "N s", line.partition("streaming: ")[2]) for line in of_chunk] == [
        "archive begins",
        "archive has done 3 images in N s, 1 failed (not_an_image 1)",
    ]
    assert [" WARNING " in line for line in of_chunk] == [False, True]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_what_a_worker_raises_is_logged_with_its_chunk(tmp_path):
    source = put_files(str(tmp_path / "photos"), {"a.jpg": jpeg(1)})
    Run(request(source, tmp_path / "a", seal=False))
    # A plan that is not as it was: its chunk cannot be read.
    [chunk] = [part.stem for part in (tmp_path / "a" / "parts").iterdir()]
    (tmp_path / "a" / "parts" / f"{chunk}.parquet").unlink()
    plan = read_plan(locate(str(tmp_path / "a")), 0)
    assert plan
    (tmp_path / "a" / "plan" / "00000" / plan.files[0].name).write_bytes(b"PAR1 no more")
    with logs.of_run("that-fails"), pytest.raises(ArchiveError, match="is damaged"):
        Run(request(source, tmp_path / "a"))
    [line, *_] = lines_of_workers("that-fails")
    assert f" ERROR run=that-fails chunk={chunk} clusters.logs: failed" in line
