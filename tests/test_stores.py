"""The laws of every store, local, S3 and memory: puts once, ranges, etags, listings, and who else is at work."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from ops.archive.layout import ArchiveError, Location
from ops.archive.lease import driving
from ops.stores import Changed, Store, StoreError, absolute, child_of, join, open_store
from ops.stores.local import LocalStore, file_url
from ops.stores.s3 import S3Store


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3), "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "s3":
        yield request.getfixturevalue("s3")
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}"
        open_store("memory://x").remove([stored.url for stored in open_store("memory://x").walk("memory://")])
    else:
        yield str(tmp_path)


@pytest.fixture
def store(root: str) -> Store:
    return open_store(root)


def test_the_first_put_stands(store: Store, root: str) -> None:
    url = join(root, "a", "b.bin")
    assert store.put_new(url, b"first")
    assert not store.put_new(url, b"second")
    assert store.read(url) == b"first"
    assert not store.put_new(url, b"")


def test_of_many_writers_at_once_one_wins_and_its_bytes_are_whole(store: Store, root: str) -> None:
    if root.startswith("memory"):
        pytest.skip("the memory of fsspec is not atomic")
    url = join(root, "raced.bin")
    contents = [bytes([number]) * 50_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda content: store.put_new(url, content), contents))
    assert won.count(True) == 1
    assert store.read(url) == contents[won.index(True)]


def test_ranges_are_cut_at_the_end_like_those_of_a_file(store: Store, root: str) -> None:
    url = join(root, "x.bin")
    store.put_new(url, bytes(range(10)))
    assert store.read(url, 2, 5) == bytes([2, 3, 4])
    assert store.read(url, 8, 50) == bytes([8, 9])
    assert store.read(url, 7) == bytes([7, 8, 9])
    assert store.read(url, 4, 4) == b""
    assert store.read_end(url, 3) == (bytes([7, 8, 9]), 10)
    assert store.read_end(url, 99) == (bytes(range(10)), 10)


def test_an_object_that_changed_is_not_read_as_the_old_one(store: Store, root: str) -> None:
    url = join(root, "x.bin")
    store.put_new(url, b"old")
    etag = store.stat(url).etag
    assert store.read(url, etag=etag) == b"old"
    store.put(url, b"newer")
    with pytest.raises(Changed, match=r"x\.bin has changed"):
        store.read(url, etag=etag)
    assert store.read(url) == b"newer"


def test_what_is_missing_is_said_to_be_missing(store: Store, root: str) -> None:
    url = join(root, "nothing.bin")
    for ask in (store.read, store.stat, lambda missing: store.read_end(missing, 4)):
        with pytest.raises(FileNotFoundError):
            ask(url)
    assert list(store.walk(join(root, "nowhere"))) == []
    store.remove([url])


def test_a_walk_lists_everything_below_and_nothing_beside(store: Store, root: str) -> None:
    names = ["a/1.bin", "a/b/2.bin", "ab/3.bin", "é/🦊.bin", "a/%20 +&.bin"]
    for name in names:
        store.put_new(join(root, *name.split("/")), name.encode())
    found = {stored.url.removeprefix(absolute(root)).lstrip("/"): stored.size for stored in store.walk(absolute(root))}
    prefix = absolute(root).split("://", 1)[-1].lstrip("/")
    found = {
        name.removeprefix("memory://").lstrip("/").removeprefix(prefix).lstrip("/"): size
        for name, size in found.items()
    }
    assert found == {name: len(name.encode()) for name in names}
    assert {stored.size for stored in store.walk(join(root, "a"))} == {7, 9, 12}
    for stored in store.walk(join(root, "é")):
        assert store.read(stored.url) == "é/🦊.bin".encode()


def test_removing_takes_those_that_are_there(store: Store, root: str) -> None:
    urls = [join(root, f"{number}.bin") for number in range(5)]
    for url in urls[:3]:
        store.put_new(url, b"x")
    store.remove(iter(urls))
    assert list(store.walk(root)) == []


def test_stores_with_conditional_puts_need_no_lease(store: Store, root: str) -> None:
    location = Location(join(root, "a"))
    with driving(location) as held:
        assert not held.leased
    assert list(store.walk(location.url)) == []


@pytest.mark.s3
def test_listings_of_s3_go_on_over_pages(s3: str) -> None:
    store = open_store(s3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put_new(join(s3, "many", f"{number:04d}"), b"x"), range(1010)))
    urls = [stored.url for stored in store.walk(join(s3, "many"))]
    assert urls == [join(s3, "many", f"{number:04d}") for number in range(1010)]
    store.remove(urls)
    assert list(store.walk(join(s3, "many"))) == []


@pytest.mark.s3
def test_a_wrong_key_for_s3_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(PermissionError, match=r"access refused .* check the credentials"):
            S3Store().read(join(s3, "x"))
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_local_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store, seen = LocalStore(), set()
    url, content, stop = str(tmp_path / "x.bin"), os.urandom(4 << 20), threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.update(stored.size for stored in store.walk(str(tmp_path)))

    watcher = threading.Thread(target=look)
    watcher.start()
    store.put_new(url, content)
    stop.set()
    watcher.join()
    assert seen <= {len(content)}
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_tidying_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / ".0123456789abcdef.new").write_bytes(b"half")
    (tmp_path / "dear.txt").write_bytes(b"kept")
    assert [stored.url for stored in LocalStore().walk(str(tmp_path))] == [str(tmp_path / "dear.txt")]
    LocalStore().tidy(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["dear.txt"]


def test_a_writer_is_not_disturbed_by_another_driver_that_tidies(tmp_path: Path) -> None:
    store, stop = LocalStore(), threading.Event()

    def tidy() -> None:
        while not stop.wait(0.01):  # far more often than any driver seals
            store.tidy(str(tmp_path))

    other = threading.Thread(target=tidy)
    other.start()
    try:
        for number in range(300):
            assert store.put_new(str(tmp_path / "parts" / f"{number}"), b"x")
            store.remove([str(tmp_path / "parts" / f"{number}")])
    finally:
        stop.set()
        other.join()


def test_a_folder_that_is_removed_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch) -> None:
    make, asked = Path.mkdir, []

    def removed_meanwhile(self: Path, *how: object, **more: object) -> None:
        asked.append(self)
        if len(asked) == 1:  # it stood there, and is gone when Python looks what it is
            raise FileExistsError(errno.EEXIST, "File exists", str(self))
        make(self, *how, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", removed_meanwhile)
    assert LocalStore().put_new(str(tmp_path / "parts" / "1"), b"x")
    assert (tmp_path / "parts" / "1").read_bytes() == b"x"


def test_a_walk_passes_over_what_another_driver_removes(tmp_path: Path) -> None:
    store = LocalStore()
    for number in range(3):
        store.put_new(str(tmp_path / f"{number}"), b"x")
    found = store.walk(str(tmp_path))
    assert next(found).url.endswith("/0")
    store.remove([str(tmp_path / "1")])
    assert [stored.url for stored in found] == [str(tmp_path / "2")]


def test_without_conditional_puts_a_lease_keeps_a_second_driver_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStore, "refuses_second_put", lambda *_: False)
    location = Location(str(tmp_path / "a"))
    with driving(location, settle_seconds=0) as held:
        assert held.leased
        second = driving(location, settle_seconds=0)
        with pytest.raises(ArchiveError, match=r"is being written by a driver on .*no conditional puts.*lease\.json"):
            second.__enter__()
    with driving(location, settle_seconds=0):
        pass
    assert not (tmp_path / "a" / "lease.json").exists()


def test_urls_mean_the_same_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/b") == str(tmp_path / "a" / "b")
    assert absolute("s3://bucket/x/") == "s3://bucket/x"
    assert absolute(file_url(str(tmp_path / "a b%"))) == str(tmp_path / "a b%")
    assert child_of("s3://bucket/x/y", "s3://bucket/x")
    assert not child_of("s3://bucket/xy", "s3://bucket/x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert child_of(str(tmp_path / "link" / "b"), str(tmp_path / "a"))
    with pytest.raises(StoreError, match="unknown scheme nosuch://"):
        open_store("nosuch://x")
