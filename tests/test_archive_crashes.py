"""An archive is the same whatever dies while it is made: power cuts at every request, races, half-done sweeps."""

# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportArgumentType=false
# What is missing fails the test where it is used.

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from ops.archive import attempts, lease, packs
from ops.archive import catalog as catalogs
from ops.archive.layout import ArchiveError, Location, create, locate
from ops.archive.lease import driving
from ops.archive.plan import read_plan
from ops.archive.reading import Archive
from ops.archive.seals import highest_seal, open_generation, seal_generation, sweep_leftovers, write_packs_here
from ops.stores import StoreError, open_store
from tests import makers
from tests.archives import document_for, entries_of, make_archive, planned_chunks, put_parts, seal, write_plan
from tests.failing_stores import CarelessStore, CutStore, PowerCut


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 25_000)
    CutStore.dies_at, CutStore.changes = None, 0
    CutStore.store.clear()


COUNT = ("packs/", "catalog/", "seals/")
IMAGES = {f"{at:02d}": makers.encode(makers.photo(seed=at), "JPEG") for at in range(8)}


def two_generations(location: Location) -> None:
    """Leave an archive with one sealed generation, and one whose parts are there with marks of attempts."""
    make_archive(location.url, IMAGES, chunk_images=2)
    images = {"05": IMAGES["01"], "new": IMAGES["02"], "newer": b"no image"}
    plan = write_plan(location, entries_of(images, etag="2"), generation=1, kind="growth", chunk_images=1)
    write_plan(location, entries_of({"lost the race": b"x"}), generation=1)
    for chunk in planned_chunks(location, plan):
        attempts.begin(location, chunk.id, "a run")
    attempts.stop(location, "a run")
    put_parts(location, plan, images)


def drive(location: Location) -> None:
    """Do what a driver does that finds an archive with all parts there."""
    plan, sealed = open_generation(location)
    if plan:
        seal(location, plan)
    elif sealed:
        sweep_leftovers(location, sealed)


def content_of(location: Location) -> dict[str, bytes]:
    store = open_store(location.url)
    return {stored.url.split("a.regrow/")[1]: store.read(stored.url) for stored in store.walk(location.url)}


def with_cuts(prepare, work, check) -> int:
    """Do the work with a power cut before and after every change to the store, then again without; check the end."""
    location = locate("cut://x/a.regrow")
    for at in count():
        for side in ("before", "after"):
            CutStore.store.clear()
            CutStore.dies_at, CutStore.changes = None, 0
            prepare(location)
            CutStore.changes, CutStore.dies_at = 0, (at, side)
            try:
                work(location)
            except PowerCut:
                pass
            else:
                return at
            CutStore.dies_at = None
            work(location)
            check(content_of(location), (at, side))
    raise AssertionError


def undisturbed(prepare, work) -> dict[str, bytes]:
    location = locate("cut://x/a.regrow")
    prepare(location)
    work(location)
    return content_of(location)


def test_sealing_ends_in_the_same_bytes_whatever_request_it_dies_at():
    expected = undisturbed(two_generations, drive)
    assert {name.split("/")[0] for name in expected} == {"archive.json", "plan", "packs", "catalog", "seals"}

    def check(found: dict[str, bytes], cut: tuple[int, str]) -> None:
        assert {name: found[name] for name in found if name in expected} == expected, cut

    cuts = with_cuts(two_generations, drive, check)
    assert cuts > 10


def test_sealing_a_catalog_of_many_files_survives_every_cut(monkeypatch):
    monkeypatch.setattr(catalogs, "FILE_ROWS", 3)
    expected = undisturbed(two_generations, drive)
    assert sum(name.startswith("catalog/00001") for name in expected) > 2
    counting = {name: expected[name] for name in expected if name.startswith(COUNT)}

    def check(found: dict[str, bytes], cut: tuple[int, str]) -> None:
        assert {name: found[name] for name in found if name.startswith(COUNT)} == counting, cut

    with_cuts(two_generations, drive, check)


def test_a_sweep_that_was_cut_off_is_finished_by_the_next_driver():
    expected = undisturbed(two_generations, drive)

    def check(found: dict[str, bytes], cut: tuple[int, str]) -> None:
        assert set(found) == set(expected), cut

    with_cuts(two_generations, drive, check)


def test_planning_that_dies_leaves_one_plan_whatever_is_listed_the_second_time():
    listings = iter(range(1, 10_000))

    def prepare(location: Location) -> None:
        create(location, document_for())

    def work(location: Location) -> None:
        number = next(listings)  # the source grows between the two listings
        plan = write_plan(location, entries_of({f"{at}": b"x" for at in range(3)} | {f"n{number}": b"y"}))
        assert plan == read_plan(location, 0)
        assert len(planned_chunks(location, plan)) == 1

    def check(found: dict[str, bytes], cut: tuple[int, str]) -> None:
        assert "plan/00000/plan.json" in found, cut

    assert with_cuts(prepare, work, check) == 3


def test_parts_that_died_half_way_are_done_once_and_the_rest_kept():
    expected = undisturbed(lambda _: None, lambda location: make_archive(location.url, IMAGES, chunk_images=2))

    def work(location: Location) -> None:
        if open_generation(location)[1] is None:
            make_archive(location.url, IMAGES, chunk_images=2)

    def check(found: dict[str, bytes], cut: tuple[int, str]) -> None:
        swept = {name for name in found if name.startswith("parts/")}
        assert {name: found[name] for name in set(found) - swept} == expected, cut

    assert with_cuts(lambda _: None, work, check) > 12


@pytest.mark.parametrize("scheme", ["memory", ""])
def test_drivers_that_seal_at_once_end_with_one_whole_archive(tmp_path, scheme):
    for attempt in range(4):
        url = f"memory://race{attempt}/a.regrow" if scheme else str(tmp_path / f"{attempt}" / "a.regrow")
        location = locate(url)
        two_generations(location)
        plan = read_plan(location, 1)
        barrier = threading.Barrier(3)

        def sealing(_: int, location=location, plan=plan, barrier=barrier):
            barrier.wait()
            return seal_generation(location, plan, lambda orders: write_packs_here(location, orders))

        with ThreadPoolExecutor(3) as pool:
            seals = list(pool.map(sealing, range(3)))
        assert [one for one in seals if one != highest_seal(location)] == []
        archive = Archive.open(url)
        rows = [archive.find(key) for key in (*IMAGES, "new")]
        assert all(archive.thumbnail(row) for row in rows)


def test_half_written_files_of_a_killed_writer_are_gone_after_sealing(tmp_path):
    location = locate(str(tmp_path / "a.regrow"))
    two_generations(location)
    left = [tmp_path / "a.regrow" / folder / ".0123456789abcdef.new" for folder in ("parts", "packs", "plan/00001")]
    for path in left:
        path.write_bytes(b"half")
    drive(location)
    assert [path for path in left if path.exists()] == []
    assert not (tmp_path / "a.regrow" / "parts").exists()


@pytest.fixture
def careless() -> Iterator[Location]:
    CarelessStore.store.clear()
    location = locate("careless://x/a.regrow")
    create(location, document_for())
    yield location
    CarelessStore.store.clear()


def test_a_store_that_overwrites_is_found_out_and_needs_a_lease(careless, tmp_path):
    with driving(careless, settle_seconds=0) as location:
        assert location.leased
        assert "lease.json" in content_of(careless)
    assert set(content_of(careless)) == {"archive.json"}
    for url in ("memory://lease/a.regrow", str(tmp_path / "a")):
        with driving(locate(url), settle_seconds=0) as location:
            assert not location.leased


def test_a_second_driver_is_refused_while_the_first_works_and_admitted_after(careless):
    refused = pytest.raises(ArchiveError, match=r"being written by a driver on .*remove .*lease\.json")
    with driving(careless, settle_seconds=0), refused, driving(careless, settle_seconds=0):
        pass
    with driving(careless, settle_seconds=0) as location:
        assert location.leased


def test_the_lease_of_a_dead_driver_ends(careless, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", -1.0)
    lease._write(careless, "dead")
    monkeypatch.undo()
    with driving(careless, settle_seconds=0) as location:
        assert location.leased


def test_of_two_drivers_that_looked_at_once_one_goes_on(careless):
    outcomes, both = [], threading.Barrier(2)

    def take(_: int) -> None:
        both.wait()
        try:
            with driving(careless, settle_seconds=0.2):
                outcomes.append("drives")
                threading.Event().wait(0.4)
        except ArchiveError:
            outcomes.append("refused")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(take, range(2)))
    assert sorted(outcomes) == ["drives", "refused"]


def test_under_a_lease_nothing_is_overwritten(careless):
    with driving(careless, settle_seconds=0) as location:
        assert location.store.put_new(location.at("plan", "x"), b"first")
        assert not location.store.put_new(location.at("plan", "x"), b"second")
        assert location.store.read(location.at("plan", "x")) == b"first"


def test_a_driver_that_lost_its_lease_writes_no_more(careless, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    with driving(careless, settle_seconds=0) as location:
        lease._write(careless, "another")
        threading.Event().wait(0.3)
        with pytest.raises(StoreError, match="another driver has taken the archive over; run this again"):
            location.store.put_new(location.at("seals", "x"), b"")


def test_renewing_a_lease_outlives_any_error_of_a_store(careless, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    with driving(careless, settle_seconds=0):
        before = lease._read(careless).until
        fails = iter([True, True])
        whole = lease._write
        monkeypatch.setattr(lease, "_write", lambda *given: 1 / 0 if next(fails, False) else whole(*given))
        threading.Event().wait(0.5)
        assert lease._read(careless).until > before


def test_a_driver_that_lost_its_lease_leaves_the_next_ones_alone(careless):
    with driving(careless, settle_seconds=0):
        lease._write(careless, "another, after this one slept too long")
    assert lease._read(careless) is not None
