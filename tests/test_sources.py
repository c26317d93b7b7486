"""A source is listed whole: what is planned, what is left out and why; then its bytes are fetched, or a reason."""

import io
import json
import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pyarrow as pa
import pytest

from ops.decoding.limits import Limits
from ops.images import Failure, FailureCode
from ops.ranged import RangedFile, open_source
from ops.readers import READERS, Entry
from ops.sources import ScanReport, SourceError, fetch, scan
from ops.stores import Changed, open_store
from ops.stores.local import file_url
from tests.makers_sources import HARD_NAMES, images_of, make_folder, parquet_bytes, tar_bytes, zip_bytes

JPEGS = {"b.jpg": b"bbb", "a.jpg": b"aa", "a/x.PNG": b"xxxx", "a.b/y.webp": b"y"}


@pytest.fixture
def bucket():
    """A fresh place in the object store of fsspec that lives in memory."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(params=["local", "s3", "memory"])
def make_source(request, tmp_path, bucket):
    """Make a source of these files, in a folder or in an object store."""
    if request.param == "local":
        return lambda files: make_folder(tmp_path, files)
    url = request.getfixturevalue("s3") if request.param == "s3" else bucket
    return lambda files: put(url, files)


def put(url, files):
    for name, content in files.items():
        open_store(url).put(f"{url}/{name}", content)
    return url


def codes(images):
    return {key: found.code.value for key, found in images.items() if isinstance(found, Failure)}


def refusal(source, **options):
    with pytest.raises(SourceError) as refused:
        list(scan(str(source), report=ScanReport(), **options))
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_folder_gives_its_images(make_source):
    images, report = images_of(make_source(JPEGS))
    assert images == JPEGS
    assert (report.num_images, report.num_bytes, report.problems) == (4, 10, [])


def test_a_folder_is_listed_in_the_order_of_s3(tmp_path, bucket):
    for source in (make_folder(tmp_path, JPEGS), put(bucket, JPEGS)):
        keys = [entry.key for entry in scan(str(source), report=ScanReport())]
        assert keys == ["a.b/y.webp", "a.jpg", "a/x.PNG", "b.jpg"]


def test_hard_names(make_source):
    # SeaweedFS takes a backslash for a slash.
    files = {name: name.encode() for name in HARD_NAMES if "\\" not in name}
    assert images_of(make_source(files))[0] == {name.replace("%", "%25"): content for name, content in files.items()}


def test_names_of_backslashes_and_invalid_utf8_are_found_again(tmp_path):
    for name in (b"/a\xff%.jpg", b"/b\\..\\c.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + name)).write_bytes(name)
    images, _ = images_of(tmp_path)
    assert images == {"a%FF%25.jpg": b"/a\xff%.jpg", "b\\..\\c.jpg": b"/b\\..\\c.jpg"}


def test_what_is_no_image_by_its_name_is_counted_and_planned_on_request(tmp_path):
    others = {
        "notes.txt": b"n",
        "n2.TXT": b"n",
        "README": b"r",
        ".DS_Store": b"d",
        "sub/._b.jpg": b"h",
        ".x/y.jpg": b"y",
    }
    make_folder(tmp_path, {**JPEGS, **others})
    images, report = images_of(tmp_path)
    assert images == JPEGS
    assert report.skipped == {".txt": 2, "": 1, "hidden": 3}
    images, report = images_of(tmp_path, all_files=True)
    assert images == {**JPEGS, **others}
    assert not report.skipped


def test_odd_things_in_a_folder_are_problems_or_failures_and_never_vanish(tmp_path):
    make_folder(tmp_path, {"a.jpg": b"a", "folder.jpg/b.jpg": b"b", "away/c.jpg": b"c"})
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    images, report = images_of(tmp_path)
    assert sorted(images) == ["a.jpg", "away/c.jpg", "dangling.jpg", "folder.jpg/b.jpg", "link.jpg"]
    assert images["link.jpg"] == b"a"
    assert codes(images) == {"dangling.jpg": "vanished"}
    assert [uri.rpartition("/")[2] for uri, _ in report.problems] == ["loop", "pipe.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path):
    make_folder(tmp_path, {"a.jpg": b"a", "locked/b.jpg": b"b", "c.jpg": b"c"})
    (tmp_path / "locked").chmod(0)
    (tmp_path / "c.jpg").chmod(0)
    try:
        images, report = images_of(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert codes(images) == {"c.jpg": "unreadable"}
    assert "cannot be listed: Permission denied" in report.problems[0][1]


SHARDS = {
    "t.tar": tar_bytes({"1.jpg": b"t1", "1.json": b"{}", "1.jpg.txt": b""}),
    "deep/z.zip": zip_bytes({"../up.jpg": b"z1", "__MACOSX/._up.jpg": b"junk"}),
    "t.tar.gz": tar_bytes({"1.jpg": b"g1"}, "w:gz"),
    "p.parquet": parquet_bytes(pa.table({"image": [{"bytes": b"p1", "path": "x"}, {"bytes": b"p2", "path": "x"}]})),
}
IN_SHARDS = {
    "deep/z.zip/../up.jpg": b"z1",
    "p.parquet/x": b"p1",
    "p.parquet/x~2": b"p2",
    "t.tar/1.jpg": b"t1",
    "t.tar.gz/1.jpg": b"g1",
}


def test_shards_in_a_folder_are_opened(make_source):
    images, report = images_of(make_source(SHARDS | JPEGS))
    assert images == IN_SHARDS | JPEGS
    assert report.skipped == {".json": 1, ".txt": 1, "hidden": 1}
    assert (report.renamed, report.problems) == (1, [])


def test_a_shard_or_an_image_by_itself_is_a_source(tmp_path, bucket):
    for source in (str(make_folder(tmp_path, SHARDS | JPEGS)), put(bucket, SHARDS | JPEGS)):
        assert images_of(f"{source}/t.tar")[0] == {"t.tar/1.jpg": b"t1"}
        assert images_of(f"{source}/deep/z.zip")[0] == {"z.zip/../up.jpg": b"z1"}
        assert images_of(f"{source}/a/x.PNG")[0] == {"x.PNG": b"xxxx"}
        assert list(images_of(f"{source}/a")[0]) == ["x.PNG"]


def test_a_broken_shard_is_a_problem_and_its_neighbours_are_planned(tmp_path):
    make_folder(
        tmp_path, {"cut.tar": tar_bytes(JPEGS)[:1500], "no.zip": b"PK", "meta.parquet": b"PAR1", "ok.jpg": b"1"}
    )
    images, report = images_of(tmp_path)
    assert images == {"ok.jpg": b"1", "cut.tar/b.jpg": b"bbb"}
    assert [uri.rpartition("/")[2] for uri, _ in report.problems] == ["cut.tar", "meta.parquet", "no.zip"]
    assert "damaged at byte 1024" in report.problems[0][1]


def test_a_text_list(tmp_path, bucket):
    make_folder(tmp_path, {"in/a.jpg": b"aa", "abs.jpg": b"abs", "t.tar": SHARDS["t.tar"], "in/no suffix": b"n"})
    put(bucket, {"r.jpg": b"remote"})
    lines = [
        "# a comment",
        "",
        "in/a.jpg",
        "./in/a.jpg",
        str(tmp_path / "abs.jpg"),
        file_url(str(tmp_path / "abs.jpg")),
        f"{bucket}/r.jpg",
        "in/no suffix",
        "gone.jpg",
        "in",
        "t.tar",
    ]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    images, report = images_of(tmp_path / "list.txt")
    absolute = str(tmp_path / "abs.jpg").lstrip("/")
    remote = f"{bucket}/r.jpg".partition("://")[2]
    assert {key: found for key, found in images.items() if isinstance(found, bytes)} == {
        "in/a.jpg": b"aa",
        absolute: b"abs",
        remote: b"remote",
        "in/no suffix": b"n",
        "t.tar/1.jpg": b"t1",
    }
    assert codes(images) == {"gone.jpg": "vanished", "in": "unreadable"}
    assert report.listed_twice == 2


def test_a_list_in_a_store_has_lines_relative_to_itself(bucket):
    put(bucket, {"lists/l.txt": b"../a.jpg\nb.jpg\n", "a.jpg": b"a", "lists/b.jpg": b"b"})
    assert images_of(f"{bucket}/lists/l.txt")[0] == {"../a.jpg": b"a", "b.jpg": b"b"}


@pytest.mark.parametrize("column", ["uri", "url", "path"])
def test_lists_with_columns(tmp_path, column):
    make_folder(tmp_path, {"a.jpg": b"a", "b,c.jpg": b"b"})
    (tmp_path / "l.csv").write_text(f'key,other,{column}\nfirst/1,x,a.jpg\n,x,"b,c.jpg"\nempty,x,\n')
    images, report = images_of(tmp_path / "l.csv")
    assert images == {"first/1": b"a", "b,c.jpg": b"b"}
    assert report.problems == [(file_url(str(tmp_path / "l.csv")), "row 4 names nothing")]
    rows = pa.table({column: ["a.jpg", "b,c.jpg", None], "key": ["first/1", None, "empty"]})
    (tmp_path / "l.parquet").write_bytes(parquet_bytes(rows))
    images, report = images_of(tmp_path / "l.parquet")
    assert images == {"first/1": b"a", "b,c.jpg": b"b"}
    assert report.problems[0][1] == "row 3 names nothing"


def test_what_a_list_names_is_a_shard_or_not_by_its_uri_whatever_its_key(tmp_path):
    make_folder(tmp_path, {"s.tar": tar_bytes({"x.jpg": b"1"}), "p.jpg": b"2"})
    (tmp_path / "l.csv").write_text("uri,key\ns.tar,holiday\np.jpg,old.tar\n")
    images, report = images_of(tmp_path / "l.csv")
    assert images == {"holiday/x.jpg": b"1", "old.tar": b"2"}
    assert report.problems == []


def test_a_list_whose_columns_are_binary_names_files(tmp_path):
    make_folder(tmp_path, {"p.jpg": b"2"})
    columns = {"uri": pa.array([b"p.jpg", None]), "key": pa.array([b"k.jpg", b""])}
    (tmp_path / "l.parquet").write_bytes(parquet_bytes(pa.table(columns)))
    images, report = images_of(tmp_path / "l.parquet")
    assert images == {"k.jpg": b"2"}
    assert [message for _, message in report.problems] == ["row 2 names nothing"]


def test_a_list_that_is_no_utf8_can_be_planned(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"https://example.org/caf\xe9.jpg\ncaf\xe9.jpg\n")
    entries = list(scan(str(tmp_path / "l.txt"), report=ScanReport()))
    assert [entry.key for entry in entries] == ["example.org/caf%E9.jpg", "caf%E9.jpg"]
    assert entries[0].uri == "https://example.org/caf%E9.jpg"
    assert entries[1].uri.endswith("caf%E9.jpg")
    assert msgspec.json.encode(entries)


def test_a_parquet_file_of_images_is_no_list_although_it_has_a_column_of_urls(tmp_path):
    table = pa.table({"image": [{"bytes": b"1", "path": "p.jpg"}], "url": ["http://x/y.jpg"]})
    (tmp_path / "x.parquet").write_bytes(parquet_bytes(table))
    assert images_of(tmp_path / "x.parquet")[0] == {"x.parquet/p.jpg": b"1"}


def test_sources_without_images_are_refused_with_what_is_there(tmp_path, bucket):
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "is empty or does not exist" in refusal(f"{bucket}/nowhere")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(tmp_path / "empty")
    make_folder(tmp_path / "docs", {"a.pdf": b"1", "b.pdf": b"2", "c": b"3"})
    assert "3 other files are there (.pdf 2, without suffix 1): --all-files" in refusal(tmp_path / "docs")
    assert "(.pdf 1)" in refusal(tmp_path / "docs" / "a.pdf")
    assert "central directory" in refusal(make_folder(tmp_path / "shards", {"x.zip": b"PK"}))
    (tmp_path / "l.csv").write_text("name,size\na,1\n")
    assert "needs a column called uri, url or path; its columns are: name, size" in refusal(tmp_path / "l.csv")
    (tmp_path / "x.parquet").write_bytes(parquet_bytes(pa.table({"text": ["a"]})))
    assert "among: text (string)" in refusal(tmp_path / "x.parquet")
    assert "unknown scheme" in refusal("nonsense://x/y")


def test_archives_are_no_sources(tmp_path):
    archive = json.dumps({"format": 1, "codec": {}, "codec_digest": "x"}).encode()
    pack = parquet_bytes(pa.table({"thumbnail": [{"bytes": b"1", "path": "p.webp"}]}))
    make_folder(tmp_path, {"a.jpg": b"a", "old.regrow/archive.json": archive, "old.regrow/packs/0.parquet": pack})
    make_folder(tmp_path, {"mine/archive.json": b'["not ours"]', "mine/b.jpg": b"b", "z.jpg": b"z"})
    images, report = images_of(tmp_path)
    assert list(images) == ["a.jpg", "mine/b.jpg", "z.jpg"]
    assert report.problems == [(f"{tmp_path}/old.regrow", "a regrow archive inside the source was left out")]
    assert "is a regrow archive" in refusal(tmp_path / "old.regrow")


def test_fetched_images_are_those_of_the_plan_or_failures(make_source):
    planned = {"ok.jpg": b"ok", "grown.jpg": b"x", "other.jpg": b"old", "empty.jpg": b"", "big.jpg": b"b" * 101}
    entries = list(scan(str(make_source(planned)), report=ScanReport()))
    gone = msgspec.structs.replace(entries[0], key="gone", uri=f"{entries[0].uri}.gone.jpg", size=1)
    unknown = msgspec.structs.replace(entries[0], key="unknown size", size=0, etag="")
    make_source({"grown.jpg": b"xx", "other.jpg": b"new"})
    entries += [gone, unknown]
    found = fetch(entries, 4, Limits(encoded_bytes=100))
    assert {e.key: f if isinstance(f, bytes) else f.code.value for e, f in zip(entries, found, strict=True)} == {
        "big.jpg": "too_large",
        "empty.jpg": "empty",
        "gone": "vanished",
        "grown.jpg": "changed",
        "ok.jpg": b"ok",
        "other.jpg": "changed",
        "unknown size": "too_large",
    }
    assert all(entry.uri in f.message for entry, f in zip(entries, found, strict=True) if isinstance(f, Failure))


def test_a_shard_that_was_replaced_fails_whole(tmp_path):
    make_folder(tmp_path, {"t.tar": tar_bytes({f"{n}.jpg": b"old" for n in range(3)}), "ok.jpg": b"ok"})
    entries = list(scan(str(tmp_path), report=ScanReport()))
    (tmp_path / "t.tar").write_bytes(tar_bytes({f"{n}.jpg": b"NEW!" for n in range(3)}))
    found = fetch(entries)
    assert [f if isinstance(f, bytes) else f.code for f in found] == [b"ok", *[FailureCode.CHANGED] * 3]


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    make_folder(tmp_path, {"a.jpg": b"a" * 100})
    entry = next(scan(str(tmp_path), report=ScanReport()))
    with pytest.raises(Changed), open_source(entry.uri, entry.etag) as file:  # noqa: PT012  (closing raises)
        file.read(10)
        (tmp_path / "a.jpg").write_bytes(b"b" * 101)


def test_entries_of_many_objects_come_back_in_their_order(tmp_path):
    make_folder(tmp_path, SHARDS | JPEGS)
    entries = list(scan(str(tmp_path), report=ScanReport())) * 3
    mixed = entries[::2] + entries[1::2]
    expected = [(IN_SHARDS | JPEGS)[entry.key] for entry in mixed]
    assert fetch(mixed, 1) == fetch(mixed, 8) == expected
    assert fetch([]) == []


def test_a_damaged_shard_is_a_failure_of_its_images_only(tmp_path):
    make_folder(tmp_path, {"x.parquet": b"PAR1 and then nothing", "ok.jpg": b"ok"})
    entries = [
        Entry(key="x/0", uri=file_url(str(tmp_path / "x.parquet")), locator="0:0", size=0),
        Entry(key="ok.jpg", uri=file_url(str(tmp_path / "ok.jpg")), size=2),
        Entry(key="odd", uri="nonsense://x/y", size=0),
    ]
    found = fetch(entries)
    assert [f if isinstance(f, bytes) else f.code.value for f in found] == ["unreadable", b"ok", "unreadable"]


def ranged(bucket, content, **options):
    put(bucket, {"x": content})
    return RangedFile(open_store(bucket), f"{bucket}/x", **options)


def test_a_ranged_file_reads_like_a_file(bucket):
    content = os.urandom(300_000)
    file, plain = ranged(bucket, content), io.BytesIO(content)
    steps = [
        (0, 0, 10),
        (100, 0, 70_000),
        (-50, 2, 100),
        (5, 1, 3),
        (299_990, 0, 20),
        (400_000, 0, 5),
        (65_530, 0, 50),
        (7, 0, -1),
    ]
    for offset, whence, size in steps:
        assert file.seek(offset, whence) == plain.seek(offset, whence)
        assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()


def test_a_tar_of_small_images_is_indexed_in_few_requests_and_read_in_few(bucket):
    files = {f"{n}.jpg": n.to_bytes(2, "big") * 25_000 for n in range(400)}
    file = ranged(bucket, tar_bytes(files))
    entries = list(READERS[".tar"].index(file, "u.tar"))
    assert len(entries) == 400
    assert file.num_requests <= 12
    file.num_requests = 0
    assert [i.encoded for i in READERS[".tar"].read(file, entries[100:164])] == list(files.values())[100:164]
    assert file.num_requests == 1


def test_a_tar_of_large_images_is_indexed_by_jumping(bucket):
    file = ranged(bucket, tar_bytes({f"{n}.jpg": bytes(2_000_000) for n in range(6)}))
    read = []
    file._request = lambda start, end, request=file._request: read.append(request(start, end)) or read[-1]
    assert len(list(READERS[".tar"].index(file, "u.tar"))) == 6
    assert sum(map(len, read)) < 6 * 70_000


def test_zip_and_parquet_are_indexed_from_their_ends_in_few_requests(bucket):
    for suffix, shard in (
        (".zip", zip_bytes({f"{n}.jpg": os.urandom(2000) for n in range(300)})),
        (".parquet", SHARDS["p.parquet"]),
    ):
        file = ranged(bucket, shard)
        list(READERS[suffix].index(file, f"u{suffix}"))
        assert file.num_requests <= 4


class FlakyServer(BaseHTTPRequestHandler):
    """Serves one image, after as many errors as it is told; /gone.jpg is not there and /locked.jpg is for others."""

    num_failures = 0
    num_requests = 0

    def do_GET(self):
        FlakyServer.num_requests += 1
        FlakyServer.num_failures -= 1
        status = {"/gone.jpg": 404, "/locked.jpg": 403}.get(self.path, 503 if FlakyServer.num_failures >= 0 else 200)
        self.send_response(status)
        self.send_header("Content-Length", "5" if status == 200 else "0")
        self.end_headers()
        self.wfile.write(b"image" if status == 200 else b"")

    def log_message(self, *args):
        """Say nothing in the tests."""


@pytest.fixture
def web(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), FlakyServer)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("ops.ranged.PAUSES_SECONDS", (0.01, 0.01))
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "num_failures", "outcome"),
    [
        ("a.jpg?size=1#x", 0, (b"image", 1)),
        ("a.jpg", 2, (b"image", 3)),
        ("a.jpg", 3, (FailureCode.UNREADABLE, 3)),
        ("gone.jpg", 0, (FailureCode.VANISHED, 1)),
        ("locked.jpg", 0, (FailureCode.UNREADABLE, 1)),
    ],
)
def test_the_web_is_asked_three_times_unless_its_answer_is_final(tmp_path, web, name, num_failures, outcome):
    FlakyServer.num_failures, FlakyServer.num_requests = num_failures, 0
    (tmp_path / "list.txt").write_text(f"{web}/{name}")
    images, _ = images_of(tmp_path / "list.txt")
    ((key, found),) = images.items()
    assert key == f"{web}/{name}".partition("://")[2]
    assert (found.code if isinstance(found, Failure) else found, FlakyServer.num_requests) == outcome
