"""Large images are worked on one at a time on a machine, and waiting for that is nobody's fault."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops import large
from pipelines.deadline import EXIT_STATUS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(large, "_place", lambda: tmp_path / "lock")
    return tmp_path / "lock"


def other_worker(place: Path, seconds: float) -> "subprocess.Popen[str]":
    """Start a process that holds the place for so long; returns when it does."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom ops import large\n"
        f"large._place = lambda: Path({str(place)!r})\n"
        f"with large.alone_if(True):\n    print('held', flush=True)\n    time.sleep({seconds})\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    return other


def test_a_large_image_waits_for_another_workers(place: Path) -> None:
    other = other_worker(place, 1.0)
    before, begun = large.waited_seconds(), time.monotonic()
    with large.alone_if(large=True):
        waited = time.monotonic() - begun
    other.wait()
    assert waited > 0.5
    assert large.waited_seconds() - before > 0.5


def test_others_wait_for_nobody(place: Path) -> None:
    other = other_worker(place, 5.0)
    begun = time.monotonic()
    with large.alone_if(large=False):
        assert time.monotonic() - begun < 1
    other.kill()
    other.wait()


def test_a_worker_that_dies_gives_the_place_back(place: Path) -> None:
    other = other_worker(place, 60.0)
    other.kill()
    other.wait()
    begun = time.monotonic()
    with large.alone_if(large=True):
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(("holds", "status"), [(1.5, 0), (0.0, EXIT_STATUS)])
def test_waiting_does_not_count_against_a_deadline(place: Path, holds: float, status: int) -> None:
    other = other_worker(place, holds)
    # 1.2 s are allowed: enough for waiting 1.5 s and working 0.2 s, not for working 3 s.
    code = (
        "import time\nfrom pathlib import Path\nfrom ops import large\nfrom pipelines.deadline import deadline\n"
        f"large._place = lambda: Path({str(place)!r})\n"
        f"with deadline(1.2), large.alone_if(True):\n    time.sleep({0.2 if holds else 3.0})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    other.wait()
    assert ended.returncode == status
