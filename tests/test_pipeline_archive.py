"""Archiving end to end: local and on S3, growth, changed sources, retries, refusals."""

import threading
import time
from pathlib import Path

import pytest

import ops.archive.plan as plans
import pipelines.sealing
from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.archive.seals import Unfinished
from ops.codecs.names import codec_from
from ops.images import FailureCode
from ops.sources import SourceError
from pipelines import outage
from pipelines.archive import NothingToDo, archive, retry
from pipelines.events import Event, Planned, Receipt, Started
from pipelines.requests import RetryRequest, SealRequest
from pipelines.sealing import seal_archive
from tests import makers
from tests.makers_sources import HARD_NAMES, tar_bytes
from tests.runs import (
    Run,
    check_invariants,
    current,
    jpeg,
    messages,
    names_in,
    photographs,
    put_files,
    request,
    rows_of,
)

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Plans are made in the driver, so workers need not know.
    monkeypatch.setattr(plans, "CHUNK_IMAGES", 4)


def test_a_folder_becomes_an_archive_with_a_row_per_image(tmp_path: Path) -> None:
    source = put_files(
        str(tmp_path / "photos"),
        {**photographs(10), "notes.txt": b"no image", "sub/a.png": makers.encode(makers.photo())},
    )
    run = Run(request(source, tmp_path / "a"))
    rows = rows_of(tmp_path / "a")
    assert sorted(rows) == [*sorted(photographs(10)), "sub/a.png"]
    assert {row.status for row in rows.values()} == {"ok"}
    assert (rows["000.jpg"].width, rows["000.jpg"].height) == (48, 32)
    assert len(run.chunks) == 3
    assert ".txt 1" in run.notes
    check_invariants(tmp_path / "a")


@pytest.mark.s3
def test_source_and_archive_on_s3_give_what_local_ones_give(tmp_path: Path, s3: str) -> None:
    files = {**photographs(6), "s.tar": tar_bytes(photographs(3, first=6))}
    Run(request(put_files(str(tmp_path / "photos"), files), tmp_path / "a"))
    Run(request(put_files(f"{s3}/photos", files), f"{s3}/a"))
    assert current(f"{s3}/a") == current(tmp_path / "a")
    assert len(current(f"{s3}/a")) == 9
    check_invariants(f"{s3}/a")


def test_a_resumed_run_takes_finished_chunks_as_they_are(tmp_path: Path) -> None:
    files = photographs(10)
    whole = put_files(str(tmp_path / "whole"), files)
    Run(request(whole, tmp_path / "uninterrupted"))
    first = Run(request(whole, tmp_path / "a", seal=False))
    kept, undone = first.chunks[0], first.chunks[1:]
    for chunk in undone:
        (tmp_path / "a" / "parts" / f"{chunk}.parquet").unlink()
    for key in list(files)[:4]:  # those of the finished chunk: whoever fetched them again would fail
        (tmp_path / "whole" / key).unlink()
    second = Run(request(whole, tmp_path / "a"))
    assert second.chunks == undone
    assert kept not in second.chunks
    assert current(tmp_path / "a") == current(tmp_path / "uninterrupted")
    check_invariants(tmp_path / "a")


def test_sealing_can_wait(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(5))
    assert Run(request(source, tmp_path / "a", seal=False)).seal is None
    with pytest.raises(ArchiveError, match="not sealed yet"):
        Archive.open(str(tmp_path / "a"))
    seal = seal_archive(SealRequest(archive=str(tmp_path / "a")))
    assert (seal.totals.num_images, seal.totals.num_good) == (5, 5)
    with pytest.raises(NothingToDo, match="sealed already"):
        seal_archive(SealRequest(archive=str(tmp_path / "a")))
    check_invariants(tmp_path / "a")


def test_what_is_not_finished_is_not_sealed(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(9))
    run = Run(request(source, tmp_path / "a", seal=False))
    (tmp_path / "a" / "parts" / f"{run.chunks[1]}.parquet").unlink()
    with pytest.raises(Unfinished, match="1 of 3 chunks are not done; run the same archive command again"):
        seal_archive(SealRequest(archive=str(tmp_path / "a")))


def test_an_archive_grows_by_what_is_new(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(5))
    Run(request(source, tmp_path / "a"))
    before = current(tmp_path / "a")
    with pytest.raises(NothingToDo, match="holds everything"):
        Run(request(source, tmp_path / "a"))
    put_files(source, photographs(3, first=5))
    grown = Run(request(source, tmp_path / "a", codec=None))
    after = current(tmp_path / "a")
    assert len(grown.chunks) == 1
    assert len(after) == 8
    assert {key: after[key] for key in before} == before
    assert {key: row.generation for key, row in rows_of(tmp_path / "a").items() if row.generation} == dict.fromkeys(
        photographs(3, first=5), 1
    )
    check_invariants(tmp_path / "a")


@pytest.mark.parametrize("changed", ["refuse", "skip", "new"])
def test_a_changed_image_is_refused_left_or_archived_anew(tmp_path: Path, changed: str) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(3))
    Run(request(source, tmp_path / "a"))
    before = current(tmp_path / "a")
    put_files(source, {"001.jpg": jpeg(99, 60, 60), "new.jpg": jpeg(98)})
    asked = request(source, tmp_path / "a", changed=changed)
    if changed == "refuse":
        with pytest.raises(ArchiveError, match=r"1 images changed .*001\.jpg.*--changed skip.*--changed new"):
            Run(asked)
        assert current(tmp_path / "a") == before
    else:
        run = Run(asked)
        after = current(tmp_path / "a")
        assert after["new.jpg"][0] == "ok"
        assert (after["001.jpg"] == before["001.jpg"]) is (changed == "skip")
        assert ("changed at the source and left as archived: 1 (001.jpg)" in run.notes) is (changed == "skip")
        assert {key: after[key] for key in ("000.jpg", "002.jpg")} == {
            key: before[key] for key in ("000.jpg", "002.jpg")
        }
    check_invariants(tmp_path / "a")


def test_a_failure_never_supersedes_a_good_row(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(3))
    Run(request(source, tmp_path / "a"))
    before = current(tmp_path / "a")
    put_files(source, {"001.jpg": b"no image any more"})
    Run(request(source, tmp_path / "a", changed="new"))
    assert current(tmp_path / "a") == before
    check_invariants(tmp_path / "a")


def test_a_retry_takes_repaired_files_and_leaves_the_rest_failed(tmp_path: Path) -> None:
    broken = {"broken.jpg": jpeg(7)[:300], "empty.jpg": b""}
    source = put_files(str(tmp_path / "photos"), {**photographs(3), **broken})
    Run(request(source, tmp_path / "a"))
    assert {key: code for key, (code, _) in messages(tmp_path / "a").items()} == {
        "broken.jpg": "truncated",
        "empty.jpg": "empty",
    }
    put_files(source, {"broken.jpg": jpeg(7)})
    retry(RetryRequest(archive=str(tmp_path / "a")))
    assert current(tmp_path / "a")["broken.jpg"][0] == "ok"
    assert list(messages(tmp_path / "a")) == ["empty.jpg"]
    with pytest.raises(NothingToDo, match="no image failed with truncated"):
        retry(RetryRequest(archive=str(tmp_path / "a"), codes=[FailureCode.TRUNCATED]))
    check_invariants(tmp_path / "a")


def test_a_repaired_file_is_also_taken_by_archiving_again(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), {**photographs(2), "broken.jpg": jpeg(7)[:300]})
    Run(request(source, tmp_path / "a"))
    put_files(source, {"broken.jpg": jpeg(7)})
    Run(request(source, tmp_path / "a"))
    assert current(tmp_path / "a")["broken.jpg"][0] == "ok"
    check_invariants(tmp_path / "a")


def test_what_cannot_be_met_is_refused_before_any_work(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(5))
    other = put_files(str(tmp_path / "other"), photographs(2))
    half = tmp_path / "half"
    Run(request(source, half, seal=False))
    before = names_in(half)
    with pytest.raises(ArchiveError, match=r"half done from .*photos: finish that first .*then add .*other"):
        Run(request(other, half))
    with pytest.raises(ArchiveError, match=r"made with bicubic-x4 .*not with jpeg-q50 .*leave the codec out"):
        Run(request(source, half, codec=codec_from("jpeg-q50")))
    assert names_in(half) == before
    something = put_files(str(tmp_path / "something"), {"thesis.txt": b"dear"})
    refusals = [
        (request(source, something), "holds something else .*thesis.txt"),
        (request(source, f"{source}/a"), "lie in one another"),
        (request(f"{tmp_path}/photos", tmp_path), "lie in one another"),
        (request(tmp_path / "nowhere", tmp_path / "new"), "does not exist"),
        (request(put_files(str(tmp_path / "texts"), {"a.txt": b"x"}), tmp_path / "new"), "holds no image by its names"),
        (request(half, tmp_path / "new"), "is a regrow archive, not a source"),
    ]
    for asked, message in refusals:
        with pytest.raises((ArchiveError, SourceError), match=message):
            Run(asked)
    assert names_in(something) == {"thesis.txt"}
    assert not (tmp_path / "new").exists()
    assert not (Path(source) / "a").exists()


def test_keys_in_any_script_stay_as_they_are(tmp_path: Path) -> None:
    files = {name: jpeg(seed) for seed, name in enumerate(HARD_NAMES)}
    put_files(str(tmp_path / "photos"), files)
    climbing = tar_bytes({"../up.jpg": jpeg(50), "/etc/root.jpg": jpeg(51), "a/../b.jpg": jpeg(52)})
    source = put_files(str(tmp_path / "photos"), {"s.tar": climbing})
    Run(request(source, tmp_path / "a"))
    expected = {name.replace("%", "%25") for name in HARD_NAMES}
    expected |= {"s.tar/../up.jpg", "s.tar//etc/root.jpg", "s.tar/a/../b.jpg"}
    assert {key for key, (status, _) in current(tmp_path / "a").items() if status == "ok"} == expected
    check_invariants(tmp_path / "a")


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.s3)])
def test_two_drivers_at_the_same_time_make_one_archive(tmp_path: Path, where: str, request_url: str) -> None:
    source = put_files(f"{request_url}/photos", photographs(40))
    Run(request(source, f"{request_url}/alone"))
    errors: list[BaseException] = []

    def drive() -> None:
        try:
            Run(request(source, f"{request_url}/a"))
        except NothingToDo:
            pass  # the other one was done before this one looked
        except BaseException as error:  # noqa: BLE001  the test fails of it, in its own thread
            errors.append(error)

    drivers = [threading.Thread(target=drive) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert not errors
    assert current(f"{request_url}/a") == current(f"{request_url}/alone")
    check_invariants(f"{request_url}/a")


def test_two_drivers_that_seal_on_ray_make_one_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.sealing, "PACKS_HERE", 0)
    source = put_files(str(tmp_path / "photos"), photographs(40))
    Run(request(source, tmp_path / "a", seal=False))
    errors: list[BaseException] = []

    def seal() -> None:
        try:
            seal_archive(SealRequest(archive=str(tmp_path / "a")))
        except NothingToDo:
            pass
        except BaseException as error:  # noqa: BLE001  the test fails of it, in its own thread
            errors.append(error)

    drivers = [threading.Thread(target=seal) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert not errors
    assert len(current(tmp_path / "a")) == 40
    check_invariants(tmp_path / "a")


def test_a_damaged_part_is_told_in_one_line_when_packs_are_made_on_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.sealing, "PACKS_HERE", 0)
    source = put_files(str(tmp_path / "photos"), photographs(8))
    Run(request(source, tmp_path / "a", seal=False))
    part = next((tmp_path / "a" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ArchiveError, match=r"parts/.* is damaged .*: remove it and run the same command again"):
        seal_archive(SealRequest(archive=str(tmp_path / "a")))


def test_a_resumed_run_goes_on_with_what_is_new_at_the_source(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(5))
    Run(request(source, tmp_path / "a", seal=False))
    put_files(source, photographs(3, first=5))
    again = Run(request(source, tmp_path / "a"))
    assert set(current(tmp_path / "a")) == set(photographs(8))
    assert [event.found_unfinished for event in again.events if isinstance(event, Planned)] == [True, False]
    check_invariants(tmp_path / "a")


def test_a_retry_that_was_interrupted_is_finished_before_a_source_is_archived(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), {**photographs(3), "bad.jpg": b"?"})
    Run(request(source, tmp_path / "a"))
    put_files(source, {"bad.jpg": jpeg(7)})

    def interrupt(event: Event) -> None:
        if isinstance(event, Planned):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(RetryRequest(archive=str(tmp_path / "a")), interrupt)
    with pytest.raises(SourceError, match="does not exist"):
        Run(request(tmp_path / "nowhere", tmp_path / "a"))
    assert current(tmp_path / "a")["bad.jpg"][0] == "ok"
    check_invariants(tmp_path / "a")


def test_a_source_that_is_gone_stops_the_run_before_all_of_it_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "CHUNKS", 3)
    monkeypatch.setattr(outage, "IMAGES", 10)
    source = put_files(str(tmp_path / "photos"), photographs(80))

    def unmount(event: Event) -> None:
        if isinstance(event, Started):
            (tmp_path / "photos").rename(tmp_path / "elsewhere")

    with pytest.raises(ArchiveError, match=r"none of the last 12 images could be fetched from .*: is it mounted"):
        archive(request(source, tmp_path / "a"), unmount)
    (tmp_path / "elsewhere").rename(tmp_path / "photos")
    Run(request(source, tmp_path / "a"))
    failed = messages(tmp_path / "a")
    assert 12 <= len(failed) < 40
    assert {code for code, _ in failed.values()} == {"vanished"}
    retry(RetryRequest(archive=str(tmp_path / "a")))
    assert {status for status, _ in current(tmp_path / "a").values()} == {"ok"}


def test_an_escrow_that_a_crash_cut_off_is_completed(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(3))
    Run(request(source, tmp_path / "a", seal=False))
    whole = {name: (tmp_path / "a" / name).read_bytes() for name in names_in(tmp_path / "a") if "codec/" in name}
    for name in sorted(whole)[1:]:
        (tmp_path / "a" / name).unlink()
    Run(request(source, tmp_path / "a"))
    assert {name: (tmp_path / "a" / name).read_bytes() for name in whole} == whole


@pytest.fixture
def request_url(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return str(tmp_path) if where == "local" else request.getfixturevalue("s3")


def test_a_sweep_that_was_cut_off_is_finished_by_the_next_run(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(5))
    first = Run(request(source, tmp_path / "a", seal=False))
    kept = {name: (tmp_path / "a" / name).read_bytes() for name in names_in(tmp_path / "a")}
    seal_archive(SealRequest(archive=str(tmp_path / "a")))
    for cut_off in (lambda name: name.startswith(("parts/", "attempts/")), lambda name: name.startswith("attempts/")):
        put_files(str(tmp_path / "a"), {name: content for name, content in kept.items() if cut_off(name)})
        with pytest.raises(NothingToDo):
            Run(request(source, tmp_path / "a"))
        check_invariants(tmp_path / "a")
    assert len(first.chunks) == 2


def test_a_run_that_is_interrupted_stops_and_leaves_no_suspicion(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(160))

    def interrupt(event: Event) -> None:
        if isinstance(event, Receipt):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:  # with its traceback, as a notebook keeps it
        archive(request(source, tmp_path / "a"), interrupt)
    assert kept.value.__traceback__ is not None
    left = {name for name in names_in(tmp_path / "a") if name.startswith("attempts/stopped/")}
    assert len(left) == 1
    time.sleep(2)  # a worker that was ended in the middle of a put is let go of
    finished = {name for name in names_in(tmp_path / "a") if name.startswith("parts/") and name.endswith(".parquet")}
    assert 0 < len(finished) < 40
    again = Run(request(source, tmp_path / "a"))
    opened = Archive.open(str(tmp_path / "a"))
    facts = [opened.facts(row) for row in rows_of(tmp_path / "a").values()]
    assert {row.attempts for row in facts} == {1}, "no chunk of it was taken for a killer's"
    assert again.seal
    check_invariants(tmp_path / "a")
