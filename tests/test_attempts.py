"""Inputs that kill their workers: found out after at most three deaths, and their neighbours land."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import ops.archive.plan as plans
import pipelines.archive
from ops import encoding
from ops.archive import attempts
from ops.archive.layout import Location
from ops.codecs.base import Codec, Payload, Runtime
from ops.images import Failure, FailureCode, Pixels
from pipelines.archive import retry
from pipelines.deadline import EXIT_STATUS, seconds_for
from pipelines.encode import ArchiveTask, EncodeChunk
from pipelines.requests import RetryRequest
from tests.runs import Run, check_invariants, current, jpeg, messages, names_in, photographs, put_files, request

RUN = "a run"
CHUNK = "00000-00000000-0123456789abcdef"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "a"))


def test_the_first_attempt_is_one_mark_and_not_careful(location: Location) -> None:
    attempt = attempts.begin(location, CHUNK, RUN)
    attempt.take_in_hand(3)
    assert (attempt.number, attempt.careful) == (0, False)
    assert names_in(location.url) == {f"attempts/{CHUNK}/0"}


def test_an_image_in_hand_at_two_careful_deaths_is_convicted(location: Location) -> None:
    attempts.begin(location, CHUNK, RUN)
    for _ in range(2):
        dying = attempts.begin(location, CHUNK, RUN)
        assert dying.careful
        assert not any(dying.convicted(index) for index in range(12))
        for index in range(11):
            dying.take_in_hand(index)
    after = attempts.begin(location, CHUNK, RUN)
    assert [index for index in range(12) if after.convicted(index)] == [10]


def test_deaths_with_different_images_in_hand_convict_none(location: Location) -> None:
    attempts.begin(location, CHUNK, RUN)
    for last in (2, 5):
        dying = attempts.begin(location, CHUNK, RUN)
        for index in range(last + 1):
            dying.take_in_hand(index)
    assert not any(attempts.begin(location, CHUNK, RUN).convicted(index) for index in range(12))


def test_an_attempt_that_came_to_its_end_suspects_nobody(location: Location) -> None:
    attempts.begin(location, CHUNK, RUN)
    for _ in range(3):
        attempt = attempts.begin(location, CHUNK, RUN)
        for index in (0, 1, None):
            attempt.take_in_hand(index)
    assert attempts.begin(location, CHUNK, RUN).suspects == {}


def test_two_workers_never_make_the_same_attempt(location: Location) -> None:
    numbers = [attempts.begin(location, CHUNK, RUN).number for _ in range(5)]
    assert numbers == [0, 1, 2, 3, 4]


def test_a_run_that_was_stopped_on_purpose_leaves_no_suspicion(location: Location) -> None:
    attempts.begin(location, CHUNK, RUN)
    attempts.stop(location, RUN)
    again = attempts.begin(location, CHUNK, "the next run")
    assert (again.number, again.careful, again.suspects) == (1, False, {})


def test_a_worker_that_died_before_its_run_was_stopped_is_remembered(location: Location) -> None:
    attempts.begin(location, CHUNK, RUN)  # dies
    attempts.begin(location, CHUNK, RUN).take_in_hand(7)  # dies too
    attempts.begin(location, CHUNK, RUN).take_in_hand(7)  # is stopped
    attempts.stop(location, RUN)
    again = attempts.begin(location, CHUNK, "the next run")
    assert (again.deaths, dict(again.suspects)) == (2, {7: [RUN]})


def test_power_cuts_convict_an_image_later_than_deaths_that_a_run_saw(location: Location) -> None:
    attempts.begin(location, CHUNK, "0")
    for run in ("1", "2"):
        cut = attempts.begin(location, CHUNK, run)
        assert cut.careful
        cut.take_in_hand(4)
    cut = attempts.begin(location, CHUNK, "3")
    assert not cut.convicted(4), "the power went twice while it was in hand, which may be chance"
    cut.take_in_hand(4)
    assert attempts.begin(location, CHUNK, "4").convicted(4), "three times is no chance, and the runs would never end"


def test_marks_without_a_run_count_as_deaths(location: Location) -> None:
    location.store.put_new(location.attempt(CHUNK, "0"), b"")
    attempts.stop(location, "")
    assert attempts.begin(location, CHUNK, RUN).careful


@pytest.mark.s3
def test_marks_on_s3_tell_the_same(s3: str) -> None:
    location = Location(f"{s3}/a")
    attempts.begin(location, CHUNK, RUN)
    for _ in range(2):
        attempts.begin(location, CHUNK, RUN).take_in_hand(4)
    assert attempts.begin(location, CHUNK, RUN).convicted(4)


def deadly(widths: dict[int, int]) -> type:
    """Return an encoder of chunks whose codec ends its process at images of such a width, as a fault in a driver would.

    Defined in a function, so that Ray sends it to its workers by value.
    """

    class Deadly:
        def __init__(self, codec: Codec) -> None:
            self._codec = codec
            self.generative, self.concurrent = codec.generative, codec.concurrent

        def encode(self, images: Sequence[Pixels]) -> list[Payload | Failure]:
            for image in images:
                if image.shape[1] in widths:
                    os._exit(widths[image.shape[1]])
            return self._codec.encode(images)

    class EncodeChunkAndDie(EncodeChunk):
        def __init__(self, task: ArchiveTask, runtime: Runtime) -> None:
            super().__init__(task, runtime)
            self._encoder._codec = Deadly(self._encoder._codec)  # type: ignore[assignment]

    return EncodeChunkAndDie


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_an_image_that_kills_its_worker_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "CHUNK_IMAGES", 4)
    monkeypatch.setattr(pipelines.archive, "EncodeChunk", deadly({77: 1}))
    files = {**photographs(10), "002x.jpg": jpeg(50, width=77)}
    source = put_files(str(tmp_path / "photos"), files)
    run = Run(request(source, tmp_path / "a", seal=False))
    killer = next(chunk for chunk in run.chunks if "00000000" in chunk)
    numbers = {name.split("/")[2].split("-")[0] for name in names_in(tmp_path / "a") if f"attempts/{killer}/" in name}
    assert numbers == {"0", "1", "2", "3"}, "three deaths, then the end"
    monkeypatch.undo()
    Run(request(source, tmp_path / "a"))
    assert messages(tmp_path / "a").keys() == {"002x.jpg"}
    code, message = messages(tmp_path / "a")["002x.jpg"]
    assert code == "killed_worker"
    assert message.startswith("file://")
    assert message.endswith(
        "002x.jpg was in hand each time its worker died (3 deaths); look at the file, then `regrow retry`"
    )
    assert sum(status == "ok" for status, _ in current(tmp_path / "a").values()) == 10
    retry(RetryRequest(archive=str(tmp_path / "a"), codes=[FailureCode.KILLED_WORKER]))
    assert current(tmp_path / "a")["002x.jpg"][0] == "ok"
    check_invariants(tmp_path / "a")


def test_a_worker_past_its_deadline_is_ended() -> None:
    started = time.monotonic()
    code = "import time\nfrom pipelines.deadline import deadline\nwith deadline(0.2): time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False, timeout=60)
    assert ended.returncode == EXIT_STATUS
    assert time.monotonic() - started < 30


def test_a_worker_in_time_is_left_alone() -> None:
    code = "import time\nfrom pipelines.deadline import deadline\nwith deadline(0.2): pass\ntime.sleep(0.5)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_deadlines_leave_honest_work_far_behind() -> None:
    # 64 photographs of 1 MB: some minutes, where a slow processor takes one.
    assert 1500 < seconds_for(64, 64_000_000, careful=False) < 4000
    # Each image may use up its time limit in careful mode before the watchdog comes.
    limits = 64 * (encoding.CAREFUL_SECONDS + 12 * encoding.CAREFUL_SECONDS_PER_MEGAPIXEL)
    assert seconds_for(64, 64_000_000, careful=True) > limits
