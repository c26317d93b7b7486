"""Tars, zips and Parquet files give up the images that they hold, and say what they cannot give."""

import io
import random
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ops.images import Failure, FailureCode, SourceImage
from ops.readers import READERS, BrokenShard, reader_of, shard_suffix, whole
from ops.readers.base import Entry
from tests.makers_sources import HARD_NAMES, add_member, parquet_bytes, tar_bytes, zip_bytes

FILES = {name: f"bytes of {name}".encode() for name in ["b.jpg", "a.jpg", "sub/c.png", "notes.json"]}
BINARY = pa.binary()
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def contents(shard: bytes, name: str = "x.tar"):
    """Index a shard and read it backwards; the locators alone must do."""
    reader = READERS[shard_suffix(name)]
    entries = list(reader.index(io.BytesIO(shard), f"file:///{name}"))
    read = list(reader.read(io.BytesIO(shard), entries[::-1]))[::-1]
    return {e.key: r.encoded if isinstance(r, SourceImage) else r for e, r in zip(entries, read, strict=True)}


def indexed_until_broken(shard: bytes, name: str = "x.tar"):
    keys, complaint = [], ""
    try:
        for entry in READERS[shard_suffix(name)].index(io.BytesIO(shard), f"file:///{name}"):
            keys.append(entry.key)  # noqa: PERF401  (what came before the error counts)
    except BrokenShard as error:
        complaint = str(error)
    return keys, complaint


@pytest.mark.parametrize("suffix", MODES)
def test_a_tar_gives_its_files_in_order(suffix):
    assert list(contents(tar_bytes(FILES, MODES[suffix]), f"x{suffix}").items()) == list(FILES.items())


def test_a_tar_is_what_its_bytes_say_not_its_name():
    assert contents(tar_bytes(FILES, "w:gz"), "x.tar") == FILES
    assert contents(tar_bytes(FILES, "w"), "x.tar.gz") == FILES


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_hard_names_in_a_tar(layout):
    files = {
        name: name.encode() for name in [*HARD_NAMES, "n" * 300 + ".jpg", "d/" * 120 + "x.jpg", "../up.jpg", "/abs.jpg"]
    }
    assert list(contents(tar_bytes(files, layout=layout))) == [name.replace("%", "%25") for name in files]


def test_names_of_invalid_utf8_in_a_tar():
    shard = tar_bytes({"a\udcff.jpg": b"1"}, layout=tarfile.GNU_FORMAT)
    assert contents(shard) == {"a%FF.jpg": b"1"}


def test_a_plain_tar_is_addressed_by_ranges():
    shard = tar_bytes(FILES)
    for entry in READERS[".tar"].index(io.BytesIO(shard), "file:///x.tar"):
        offset, length = map(int, entry.locator.split(":"))
        assert shard[offset : offset + length] == FILES[entry.key]


def test_runs_of_members_are_cut_at_gaps_and_at_eight_mebibytes():
    files = {
        f"{n}.jpg": bytes([n]) * size for n, size in enumerate([3 * 2**20, 3 * 2**20, 3 * 2**20, 100, 200_000, 50])
    }
    shard = tar_bytes(files)
    entries = list(READERS[".tar"].index(io.BytesIO(shard), "u.tar"))
    for wanted in (entries, entries[::2], entries[::-1], [entries[3], entries[3]]):
        read = READERS[".tar"].read(io.BytesIO(shard), wanted)
        assert [image.encoded for image in read] == [files[entry.key] for entry in wanted]


def special_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_member(tar, "./d/a.jpg", b"AAA")
        add_member(tar, "./d", kind=tarfile.DIRTYPE)
        add_member(tar, "hard.jpg", kind=tarfile.LNKTYPE, to="./d/a.jpg")
        add_member(tar, "d/soft.jpg", kind=tarfile.SYMTYPE, to="a.jpg")
        add_member(tar, "chain.jpg", kind=tarfile.SYMTYPE, to="./d/soft.jpg")
        add_member(tar, "circle.jpg", kind=tarfile.SYMTYPE, to="circle.jpg")
        add_member(tar, "out.jpg", kind=tarfile.SYMTYPE, to="/etc/passwd")
        add_member(tar, "b.jpg", b"B")
        add_member(tar, "b.jpg", b"BB")
    return buffer.getvalue()


def test_links_in_a_tar_give_what_they_point_to_and_links_to_nothing_are_named():
    keys, complaint = indexed_until_broken(special_tar())
    assert keys == ["d/a.jpg", "b.jpg", "b.jpg", "hard.jpg", "d/soft.jpg", "chain.jpg"]
    assert "circle.jpg -> circle.jpg" in complaint
    assert "out.jpg -> /etc/passwd" in complaint


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_are_read(mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        add_member(tar, "a.jpg", b"AAA")
        add_member(tar, "hard.jpg", kind=tarfile.LNKTYPE, to="a.jpg")
    assert contents(buffer.getvalue()) == {"a.jpg": b"AAA", "hard.jpg": b"AAA"}


def test_a_sparse_member_is_named():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        add_member(tar, "holes.jpg", kind=tarfile.GNUTYPE_SPARSE)
        add_member(tar, "a.jpg", b"A")
    keys, complaint = indexed_until_broken(buffer.getvalue())
    assert keys == ["a.jpg"]
    assert "sparse members are not read: holes.jpg" in complaint


@pytest.mark.parametrize(
    ("cut", "keys", "complaint"),
    [
        (3 * 1024, ["b.jpg", "a.jpg", "sub/c.png"], "ends at byte 3072 without an end mark"),
        (2 * 1024 + 100, ["b.jpg", "a.jpg"], "damaged at byte 2048"),
        (1024 + 512 + 3, ["b.jpg", "a.jpg"], "ends at byte 2048 without an end mark"),
        (100, [], "cannot be read from byte 0"),
        (0, [], "empty file"),
    ],
)
def test_a_tar_that_was_cut_off_gives_what_is_there_and_says_where_it_ends(cut, keys, complaint):
    found, said = indexed_until_broken(tar_bytes(FILES)[:cut])
    assert found == keys
    assert complaint in said


def test_a_member_that_was_cut_off_is_a_failure():
    shard = tar_bytes(FILES)
    entries = list(READERS[".tar"].index(io.BytesIO(shard), "x.tar"))
    first, second = READERS[".tar"].read(io.BytesIO(shard[: 1024 + 512 + 3]), entries[:2])
    assert first.encoded == FILES["b.jpg"]
    assert (second.code, "3 of 14 bytes" in second.message) == (FailureCode.TRUNCATED, True)


def test_damage_in_the_middle_of_a_tar_is_not_taken_for_its_end():
    shard = bytearray(tar_bytes(FILES))
    shard[1024:1100] = b"\xff" * 76
    assert indexed_until_broken(bytes(shard))[0] == ["b.jpg"]
    assert "damaged at byte 1024" in indexed_until_broken(bytes(shard))[1]


def test_tars_behind_one_another_are_noticed():
    keys, complaint = indexed_until_broken(tar_bytes(FILES) + tar_bytes({"z.jpg": b"z"}))
    assert keys == list(FILES)
    assert "goes on behind its end mark" in complaint


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_that_was_cut_off_is_not_taken_for_whole(mode):
    shard = tar_bytes({f"{n}.jpg": n.to_bytes(4, "big") * 5000 for n in range(40)}, mode)
    keys, complaint = indexed_until_broken(shard[: len(shard) * 3 // 4])
    assert len(keys) < 40
    assert "cannot be read from byte" in complaint
    entries = list(READERS[".tar"].index(io.BytesIO(shard), "x.tar.gz"))
    last = list(READERS[".tar"].read(io.BytesIO(shard[: len(shard) * 3 // 4]), entries[-1:]))
    assert last[0].code == FailureCode.UNREADABLE


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_gives_its_files_in_order(method):
    assert list(contents(zip_bytes(FILES, method), "x.zip").items()) == list(FILES.items())


def test_a_zip_of_zip64_and_of_a_stream():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("big.jpg", "w", force_zip64=True) as member:
            member.write(b"big" * 1000)
        archive.mkdir("folder")
    unseekable = io.BytesIO()
    unseekable.seekable = lambda: False  # makes zipfile write sizes behind the data, as a pipe does
    with zipfile.ZipFile(unseekable, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("streamed.jpg", b"streamed" * 100)
    assert contents(buffer.getvalue(), "x.zip") == {"big.jpg": b"big" * 1000}
    assert contents(unseekable.getvalue(), "x.zip") == {"streamed.jpg": b"streamed" * 100}


def test_a_zip_behind_other_bytes_and_one_without_members():
    assert contents(b"#!/bin/sh\n" * 50 + zip_bytes(FILES), "x.zip") == FILES
    assert contents(zip_bytes({}), "x.zip") == {}


def test_hard_names_in_a_zip():
    files = {name: name.encode() for name in [*HARD_NAMES, "../up.jpg", "/abs.jpg", "n" * 300]}
    assert list(contents(zip_bytes(files), "x.zip")) == [name.replace("%", "%25") for name in files]


@pytest.mark.parametrize(("raw", "key"), [("é.jpg".encode(), "é.jpg"), ("ü".encode("cp437") + b"1.jpg", "ü1.jpg")])
def test_zip_names_that_do_not_say_how_they_are_written(raw, key):
    stand_in = b"x" * len(raw)
    shard = zip_bytes({stand_in.decode(): b"1"}).replace(stand_in, raw)
    assert contents(shard, "x.zip") == {key: b"1"}


def test_an_encrypted_member_is_unreadable_and_its_neighbours_are_not():
    shard = bytearray(zip_bytes({"a.jpg": b"A" * 50, "b.jpg": b"B" * 50}))
    shard[6] |= 1
    found = contents(bytes(shard), "x.zip")
    assert found["a.jpg"].code == FailureCode.UNREADABLE
    assert "encrypted" in found["a.jpg"].message
    assert found["b.jpg"] == b"B" * 50


def test_damaged_data_of_a_zip_is_a_failure():
    shard = zip_bytes({"a.jpg": b"some bytes of an image"}, zipfile.ZIP_STORED).replace(b"some", b"sone")
    assert contents(shard, "x.zip")["a.jpg"].code == FailureCode.CORRUPT


@pytest.mark.parametrize("cut", [0, 10, 100, -10, -60])
def test_a_zip_without_its_directory_is_refused(cut):
    keys, complaint = indexed_until_broken(zip_bytes(FILES)[:cut], "x.zip")
    assert keys == []
    assert "central directory cannot be read" in complaint


def test_a_zip_whose_directory_is_damaged_is_refused():
    shard = bytearray(zip_bytes(FILES))
    place = shard.index(b"PK\x01\x02")
    shard[place : place + 4] = b"????"
    assert "central directory" in indexed_until_broken(bytes(shard), "x.zip")[1]


def test_links_in_a_zip_are_named():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a.jpg")
        archive.writestr("a.jpg", b"A")
    assert indexed_until_broken(buffer.getvalue(), "x.zip") == (["a.jpg"], "links are not followed: link.jpg")


CELLS = [f"image {n}".encode() for n in range(10)]
STRUCTS = [{"bytes": cell, "path": f"p/{n}.jpg"} for n, cell in enumerate(CELLS)]


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (pa.table({"image": STRUCTS, "label": range(10)}), [f"p/{n}.jpg" for n in range(10)]),
        (pa.table({"image": CELLS, "file_name": [f"{n}.png" for n in range(10)]}), [f"{n}.png" for n in range(10)]),
        (pa.table({"jpg": CELLS, "__key__": [f"k{n}" for n in range(10)]}), [f"k{n}" for n in range(10)]),
        (pa.table({"IMG": CELLS, "embedding": CELLS}), [str(n) for n in range(10)]),
        (pa.table({"bytes": pa.array(CELLS, pa.large_binary()), "key": range(10)}), [str(n) for n in range(10)]),
    ],
)
def test_a_parquet_file_gives_its_column_of_images(table, keys):
    assert list(contents(parquet_bytes(table), "x.parquet").items()) == list(zip(keys, CELLS, strict=True))


def test_metadata_of_hugging_face_say_which_column():
    facts = b'{"info": {"features": {"thumb": {"_type": "Value"}, "picture": {"_type": "Image"}}}}'
    table = pa.table({"thumb": STRUCTS, "picture": STRUCTS[::-1]}).replace_schema_metadata({"huggingface": facts})
    assert list(contents(parquet_bytes(table), "x.parquet").values()) == CELLS[::-1]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (pa.table({"left": STRUCTS, "right": STRUCTS}), "several columns may be the images: left, right"),
        (pa.table({"image": CELLS, "jpg": CELLS}), "several columns may be the images: image, jpg"),
        (pa.table({"text": ["a"], "n": [1]}), "among: text (string), n (int64)"),
    ],
)
def test_a_parquet_file_that_is_not_clear_is_refused_with_its_columns(table, complaint):
    assert complaint in indexed_until_broken(parquet_bytes(table), "x.parquet")[1]


def test_nulls_are_failures_and_missing_paths_become_row_numbers():
    column = [{"bytes": b"0", "path": None}, {"bytes": None, "path": "gone.jpg"}, None, {"bytes": b"3", "path": ""}]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    found = contents(parquet_bytes(pa.table({"image": pa.array(column, kind)}), 3), "x.parquet")
    assert list(found) == ["0", "gone.jpg", "2", "3"]
    assert [found["0"], found["3"]] == [b"0", b"3"]
    assert {found["gone.jpg"].code, found["2"].code} == {FailureCode.EMPTY}


class CountingFile(io.BytesIO):
    num_read = 0

    def read(self, size=-1):
        content = super().read(size)
        self.num_read += len(content)
        return content


def test_only_the_row_group_and_column_that_are_wanted_are_read():
    cells = [bytes([n]) * 100_000 for n in range(20)]
    table = pa.table({"image": [{"bytes": c, "path": None} for c in cells], "other": [c[::-1] for c in cells]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=4, compression="none", use_dictionary=False)
    file = CountingFile(buffer.getvalue())
    entry = Entry(key="9", uri="x.parquet", locator="2:1", size=0)
    assert next(iter(READERS[".parquet"].read(file, [entry]))).encoded == cells[9]
    assert file.num_read < 550_000


def test_a_file_that_is_no_parquet_is_refused():
    assert "cannot be read as Parquet" in indexed_until_broken(b"PAR1 no", "x.parquet")[1]
    assert "cannot be read as Parquet" in indexed_until_broken(b"", "x.parquet")[1]


def test_a_damaged_row_group_costs_its_own_images_alone():
    cells = [{"bytes": random.Random(row).randbytes(3000), "path": f"{row}.jpg"} for row in range(20)]
    shard = bytearray(parquet_bytes(pa.table({"image": cells}), 5))
    group = pq.ParquetFile(io.BytesIO(shard)).metadata.row_group(1)
    column = next(group.column(at) for at in range(2) if group.column(at).path_in_schema == "image.bytes")
    start = column.dictionary_page_offset or column.data_page_offset
    shard[start : start + 20] = b"\xff" * 20
    reader, file = READERS[".parquet"], io.BytesIO(shard)
    read = list(reader.read(file, list(reader.index(file, "file:///x.parquet"))))
    assert [isinstance(image, SourceImage) for image in read] == [True] * 5 + [False] * 5 + [True] * 10
    failure = read[5]
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.UNREADABLE
    assert failure.message.startswith("file:///x.parquet row 1:0 (5.jpg) cannot be read: ")
    assert "\n" not in failure.message


@pytest.mark.parametrize(
    "table",
    [
        {"image": pa.array([{"bytes": b"1", "path": b"a/\xff.jpg"}], pa.struct({"bytes": BINARY, "path": BINARY}))},
        {"bytes": pa.array([b"1"]), "key": pa.array([b"a/\xff.jpg"])},
    ],
)  # fmt: skip
def test_names_in_a_binary_column_are_keys_as_they_are(table):
    assert contents(parquet_bytes(pa.table(table)), "x.parquet") == {"a/%FF.jpg": b"1"}


def test_members_without_a_name_do_not_end_the_index_of_a_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("", "Q.jpg", "b.jpg"):
            with archive.open(zipfile.ZipInfo(name), "w") as member:
                member.write(b"1")
    shard = buffer.getvalue().replace(b"Q.jpg", b"\0.jpg")
    assert contents(shard, "x.zip") == {"": b"1", "\0.jpg": b"1", "b.jpg": b"1"}


def test_what_is_said_of_members_can_be_written_whatever_their_names():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        add_member(tar, "caf\udce9.jpg", kind=tarfile.SYMTYPE, to="nich\udce9.jpg")
        add_member(tar, "gap\udce9.jpg", kind=tarfile.GNUTYPE_SPARSE)
    keys, complaint = indexed_until_broken(buffer.getvalue())
    assert keys == []
    assert "caf%E9.jpg -> nich%E9.jpg" in complaint
    assert "sparse members are not read: gap%E9.jpg" in complaint
    assert complaint.encode()


def test_a_file_by_itself():
    entry, *_ = whole.index(io.BytesIO(b"12345"), "a.jpg")
    assert entry == Entry(key="", uri="a.jpg", size=5)
    assert reader_of(entry) is whole
    assert [image.encoded for image in whole.read(io.BytesIO(b"12345"), [entry])] == [b"12345"]
    for now in (b"1234", b"123456"):
        assert next(whole.read(io.BytesIO(now), [entry])).code == FailureCode.CHANGED
