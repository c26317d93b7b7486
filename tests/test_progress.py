"""What a run says while it goes on."""

import io

import pytest
from rich.console import Console

from jobs import rhythm, tally
from jobs.progress import Watch
from jobs.words import duration, failure_words, plain
from ops.archive.plan import Plan, PlanFile
from pipelines.events import Planned, Preflighting, Receipt, Sealing, Started

PLAN = Plan(
    generation=0, kind="first", parent="", source="photos", digest="d", codec_digest="c", num_chunks=3, num_images=192,
    num_bytes=5_000_000, files=[], index=PlanFile("i", 3, ""), notes=["7 files are no images\x1b[2J"],
)  # fmt: skip


def receipt(failures=()):
    return Receipt(
        name="c", num_images=64, num_good=64 - len(failures), pixels=128_000_000, source_bytes=10, thumbnail_bytes=1,
        seconds=1.0, failures=list(failures),
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    now = [100.0]
    monkeypatch.setattr(rhythm, "monotonic", lambda: now[0])
    monkeypatch.setattr(tally, "monotonic", lambda: now[0])
    return now


def told(*events, clock, terminal=False, width=100, quiet=False, seconds=10.0):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    with Watch(console, quiet=quiet) as watch:
        for event in events:
            watch(event)
            clock[0] += seconds
    return console.file.getvalue()


EVENTS = [Planned(PLAN, False), Started(192, 5_000_000, 0), receipt(), receipt(["corrupt"]), receipt(), Sealing()]


def test_without_a_terminal_a_line_comes_every_30_seconds_and_at_the_end(clock):
    assert told(*EVENTS, clock=clock).splitlines() == [
        "Planned: 192 images, 5 MB, in 3 chunks",
        "Note: 7 files are no images\u241b[2J",
        "Starting",
        "64 of 192 images",
        "192 of 192 images  12.8 MP/s  1 failed",
        "Sealing: merging what is done into packs and a catalog",
    ]


def test_speed_and_time_left_leave_the_start_of_ray_out(clock):
    lines = told(*EVENTS[:4], clock=clock, seconds=40.0).splitlines()
    assert lines[-1] == "128 of 192 images  3.2 MP/s  40 s left  1 failed"


def test_an_unfinished_run_is_announced(clock):
    lines = told(Planned(PLAN, True), Started(64, 1, 128), clock=clock).splitlines()
    assert lines[0].startswith("Note:")
    assert lines[1] == "Taking up what was begun: 128 of 192 images are done"


def test_a_preflight_says_how_many_images_it_takes_how_long_and_how_to_do_without(clock):
    event = Preflighting(num_images=4, most_side=1024, seconds=1300.0, device="cpu")
    assert told(event, clock=clock) == (
        "Preflight: 4 images, cut to at most 1024x1024 pixels, regrown here and compared with bicubic: about 22 min on "
        "cpu; --no-preflight leaves it out\n"
    )


def test_quiet_is_quiet(clock):
    assert told(*EVENTS, clock=clock, quiet=True) == ""


@pytest.mark.parametrize("width", [40, 60, 100])
def test_on_a_terminal_the_live_line_fits(clock, width):
    shown = told(*EVENTS[2:], clock=clock, terminal=True, width=width)
    assert shown == "" or "Sealing" in shown
    shown = told(*EVENTS[1:5], clock=clock, terminal=True, width=width)
    final = shown.split("\r")[-1].splitlines()
    line = next(one for one in reversed(final) if "192/192" in one)
    assert len(line.replace("\x1b[2K", "").rstrip()) <= width
    assert "1 failed" in line


def test_words():
    assert [duration(seconds) for seconds in (0.4, 99, 100, 5999, 12_000, 300_000)] == [
        "0 s", "99 s", "2 min", "1 h 39 min", "3 h 20 min", "3 d 11 h",
    ]  # fmt: skip
    assert failure_words({"empty": 1, "corrupt": 1200}) == "corrupt 1,200, empty 1"
    assert plain("a\x1b[31m\n\x9b") == "a\u241b[31m\u240a\ufffd"
