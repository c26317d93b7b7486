"""Whole runs from the command line, on a Ray of their own or of the tests."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from jobs import cli
from tests import makers

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.ray


@pytest.fixture
def source(tmp_path):
    """Three images and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.jpg").write_bytes(makers.encode(makers.photo(64, 48, seed=index), "JPEG"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_archive_reconstruct_and_a_job_file(ray_here, source, tmp_path, capsys):
    status = cli.run(["archive", str(source), str(tmp_path / "a"), "--codec", "bicubic-x4"])
    out, err = capsys.readouterr()
    assert status == 1
    assert "Planned: 4 images" in err
    assert "Note: not planned, since no images by their names: 1" in err
    assert f"1): regrow failures {tmp_path / 'a'}" in err
    assert out.startswith(f"{tmp_path / 'a'}\n  images      3, ")

    job = tmp_path / "job.yaml"
    job.write_text("kind: reconstruct\narchive: a\ndestination: out\nformat: webp\n")
    assert cli.run(["run", str(job), "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["regrown"] == 3
    assert json.loads(out)["without_thumbnail"] == 1
    with Image.open(tmp_path / "out" / "1.jpg.webp") as picture:
        assert picture.size == (64, 48)

    assert cli.run(["archive", str(source), str(tmp_path / "a")]) == 0
    assert "holds everything" in capsys.readouterr().out

    (source / "broken.jpg").write_bytes((source / "0.jpg").read_bytes())
    assert cli.run(["retry", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failures"] == {}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_printed_command_finishes(tmp_path, number, status):
    folder, archive = tmp_path / "photos of 2024", tmp_path / "a"
    folder.mkdir()
    (folder / "0.png").write_bytes(makers.encode(makers.noise(900, 900), "PNG"))
    for index in range(1, 64 * 8):
        os.link(folder / "0.png", folder / f"{index}.png")
    arguments = ["archive", str(folder), str(archive), "--codec", "bicubic-x16"]
    run = subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", *arguments],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _wait_for_a_part(archive)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (status, "")
    assert "Traceback" not in err
    said = err.splitlines()
    assert said[-1] == f"  regrow archive '{folder}' {archive} --codec bicubic-x16"
    assert " of 512 images are done, and stay. To go on:" in said[-2]
    parts = len(list((archive / "parts").iterdir()))
    assert 0 < parts < 8
    # What was in hand is no suspect: the next run is not a careful one.
    [stopped] = (archive / "attempts" / "stopped").iterdir()
    assert {mark.read_text() for mark in (archive / "attempts").glob("*-*/*")} == {stopped.name}


def _wait_for_a_part(archive):
    deadline = time.monotonic() + 60
    while not list((archive / "parts").glob("*.parquet")):
        assert time.monotonic() < deadline, "no part came"
        time.sleep(0.05)
