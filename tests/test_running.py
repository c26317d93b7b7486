"""What a run says at its end, and its exit status: of what failed in it, not of what failed long ago."""

import json
import shlex

import msgspec
import pytest

from jobs import cli, running
from ops.archive.plan import Plan, read_plan
from ops.archive.seals import highest_seal
from ops.images import FailureCode
from pipelines.events import Planned, Receipt, Sealed, Started
from pipelines.planning import NothingToDo
from tests import makers
from tests.archives import failed, grow_archive, make_archive, small_images

GOOD = makers.encode(makers.photo(seed=5), "JPEG")
OLD = {"old/1.jpg": failed(FailureCode.VANISHED), "old/2.jpg": failed(FailureCode.VANISHED)}


def receipt(num_images: int, *failures: str) -> Receipt:
    return Receipt(
        name="c", num_images=num_images, num_good=num_images - len(failures), pixels=100, source_bytes=10,
        thumbnail_bytes=1, seconds=0.1, failures=list(failures),
    )  # fmt: skip


@pytest.fixture
def regrow(capsys, monkeypatch):
    """Run a command whose pipeline does no more than tell these events; return status, stdout, stderr."""

    def run(arguments, *events):
        def told(_request, listen):
            for event in events:
                if isinstance(event, Exception):
                    raise event
                listen(event)

        for name in ("archive", "retry", "seal_archive"):
            monkeypatch.setattr(running, name, told)
        status = cli.run([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def planned(location, generation: int, *, found: bool = False, problems: list[str] | None = None) -> Planned:
    plan = read_plan(location, generation)
    assert isinstance(plan, Plan)
    return Planned(msgspec.structs.replace(plan, problems=problems or []), found)


def sealed(location) -> Sealed:
    seal = highest_seal(location)
    assert seal is not None
    return Sealed(seal)


def test_problems_without_failures_are_told_alone(regrow, tmp_path):
    location = make_archive(tmp_path / "a")
    events = [planned(location, 0, problems=["x.tar: broken"]), Started(6, 0, 0), receipt(6), sealed(location)]
    status, out, err = regrow(["archive", "p", location.url], *events)
    assert status == 1
    assert err.splitlines()[-1] == "regrow: 1 problem while listing, so images may be missing (see above)"
    assert "not listed  x.tar: broken" in out


def test_a_quiet_run_names_the_problem_itself_for_nothing_stands_above(regrow, tmp_path):
    location = make_archive(tmp_path / "a")
    nothing = NothingToDo("holds everything")
    nothing.problems = ["x.tar: broken", "y.tar: broken"]
    for events in ([planned(location, 0, problems=list(nothing.problems)), sealed(location)], [nothing]):
        status, out, err = regrow(["archive", "p", location.url, "--quiet"], *events)
        assert (status, out) == (1, "")
        assert err == "regrow: 2 problems while listing, so images may be missing (x.tar: broken, and 1 more)\n"


def test_failures_of_now_are_told_apart_from_those_of_before(regrow, tmp_path):
    location = make_archive(tmp_path / "a", {**small_images(), **OLD})
    grow_archive(location, {"new.jpg": b"text", "good.jpg": GOOD})
    events = [planned(location, 1), Started(2, 0, 0), receipt(2, "not_an_image"), sealed(location)]
    status, _, err = regrow(["archive", "p", location.url], *events)
    assert status == 1
    assert err.splitlines()[-1] == (
        f"regrow: 1 image failed now (not_an_image 1; 3 in all): regrow failures {shlex.quote(location.url)}"
    )


def test_old_failures_are_no_failure_of_a_growth_however_it_ended(regrow, tmp_path):
    location = make_archive(tmp_path / "a", {**small_images(), **OLD})
    grow_archive(location, {"good.jpg": GOOD})
    for found in (False, True):
        status, _, err = regrow(["archive", "p", location.url], planned(location, 1, found=found), sealed(location))
        assert (status, "failed" in err) == (0, False)
    status, _, err = regrow(["seal", location.url], sealed(location))
    assert (status, err) == (0, "")


@pytest.mark.parametrize("command", [["archive", "p"], ["seal"]])
def test_failures_of_a_run_that_was_cut_off_are_told_by_the_one_that_finishes_it(regrow, tmp_path, command):
    location = make_archive(tmp_path / "a", {**small_images(), **OLD})
    grow_archive(location, {"new.jpg": b"text", "good.jpg": GOOD})
    events = [sealed(location)] if command == ["seal"] else [planned(location, 1, found=True), sealed(location)]
    status, _, err = regrow([*command, location.url], *events)
    assert status == 1
    assert "regrow: 1 image failed now (not_an_image 1; 3 in all)" in err


def test_a_new_version_that_fails_is_told_while_the_old_one_stays(regrow, tmp_path):
    location = make_archive(tmp_path / "a", {"a.jpg": GOOD})
    grow_archive(location, {"a.jpg": b"text"})
    events = [planned(location, 1), Started(1, 0, 0), receipt(1, "not_an_image"), sealed(location)]
    status, out, err = regrow(["archive", "p", location.url, "--json"], *events)
    assert (status, json.loads(out)["good"]) == (1, 1)
    assert err.splitlines()[-1] == (
        "regrow: 1 image failed (not_an_image 1), and of 1 what the archive had before stays"
    )


def test_failures_of_an_archive_that_is_not_sealed_can_be_listed_once_it_is(regrow, tmp_path):
    location = make_archive(tmp_path / "a", {**small_images(), "bad.jpg": b"text"}, sealed=False)
    events = [planned(location, 0), Started(7, 0, 0), receipt(7, "not_an_image")]
    status, out, err = regrow(["archive", "p", location.url, "--no-seal"], *events)
    assert status == 1
    assert out.startswith(f"{location.url}, not sealed yet: regrow seal {location.url}\n")
    assert err.splitlines()[-1] == (
        f"regrow: 1 image failed (not_an_image 1): regrow seal {location.url}, then regrow failures {location.url}"
    )


def test_an_archive_of_which_only_the_seal_is_missing_says_so(regrow, tmp_path, capsys):
    location = make_archive(tmp_path / "a", sealed=False, chunk_images=2)
    assert cli.run(["ls", location.url]) == 1
    assert f"is not sealed yet, and every chunk is done: regrow seal {location.url}" in capsys.readouterr().err
    next((tmp_path / "a" / "parts").iterdir()).unlink()
    assert cli.run(["ls", location.url]) == 1
    assert "run the same `regrow archive` command again to finish it" in capsys.readouterr().err


def test_nothing_new_after_a_run_that_was_cut_off_still_tells_its_failures(regrow, tmp_path):
    location = make_archive(tmp_path / "a", {**small_images(), "bad.jpg": b"text"})
    nothing = NothingToDo("holds everything")
    nothing.problems = ["x.tar: broken"]
    events = [planned(location, 0, found=True), Started(7, 0, 0), receipt(7, "not_an_image"), sealed(location)]
    status, _, err = regrow(["archive", "p", location.url], *events, nothing)
    assert status == 1
    assert err.splitlines()[-1] == (
        "regrow: 1 problem while listing, so images may be missing (see above); 1 image failed (not_an_image 1): "
        f"regrow failures {location.url}"
    )


def test_a_plan_that_follows_one_that_was_taken_up_is_not_called_begun(regrow, tmp_path):
    location = make_archive(tmp_path / "a")
    grow_archive(location, {"good.jpg": GOOD})
    events = [planned(location, 0, found=True), Started(2, 0, 4), receipt(2), planned(location, 1), Started(1, 0, 0)]
    _, _, err = regrow(["archive", "p", location.url], *events, receipt(1), sealed(location))
    assert "Taking up what was begun: 4 of 6 images are done" in err
    assert "0 of 1 image" not in err
