"""The laws of archive format 1: ranges are thumbnails, catalogs are whole, newer rows supersede, first writers win."""

# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportArgumentType=false
# What is missing fails the test where it is used.

import hashlib
import io
import json
from pathlib import Path

import duckdb
import msgspec
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.archive import catalog as catalogs
from ops.archive import packs
from ops.archive.catalog import CatalogFile, Totals, current_rows, write_catalog
from ops.archive.known import KnownKeys
from ops.archive.layout import ArchiveDocument, ArchiveError, Location, Reading, create, locate
from ops.archive.packs import CATALOG_SCHEMA, Pack, catalog_rows
from ops.archive.parquet import row_groups
from ops.archive.parts import encode_part, put_part
from ops.archive.plan import Plan, PlanFile, chunks_of, publish, read_plan
from ops.archive.ranges import cached_footer
from ops.archive.reading import Archive
from ops.archive.rows import ROW_GROUP_THUMBNAIL_BYTES, to_table
from ops.archive.seals import Seal, Unfinished, highest_seal, read_catalog, seal_generation
from ops.readers.base import Entry
from tests import makers
from tests.archives import (
    cut,
    document_for,
    entries_of,
    facts_for,
    failed,
    grow_archive,
    make_archive,
    plain_row,
    planned_chunks,
    put_parts,
    seal,
    small_images,
    write_plan,
)

PLAN = Plan(
    generation=0, kind="first", parent="", source="", digest="d", codec_digest="c", num_chunks=1, num_images=1,
    num_bytes=1, files=[], index=PlanFile("", 1, ""),
)  # fmt: skip
SPECIFICATION = Path(__file__).parents[1] / "docs" / "format.md"
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
THUMBNAILS = st.one_of(st.none(), st.binary(max_size=40), st.sampled_from([b"", b"\0\0\0\0", b"\4\0\0\0abcd", b"abcd"]))


@pytest.fixture
def place(tmp_path: Path) -> Location:
    location = locate(str(tmp_path / "a.regrow"))
    create(location, document_for())
    return location


def entry(key: str = "a.jpg", size: int = 10, etag: str = "1") -> Entry:
    return Entry(key=key, uri=f"memory://source/{key}", size=size, etag=etag)


def jpeg(seed: int) -> bytes:
    return makers.encode(makers.photo(seed=seed), "JPEG")


def catalog_of(location: Location) -> list[dict]:
    found = highest_seal(location)
    assert found is not None
    return [row for table in read_catalog(location, found) for row in table.to_pylist()]


def catalog_row(key: str, generation: int = 0, status: str = "ok") -> dict:
    return {
        "key": key,
        "generation": generation,
        "status": status,
        "pack": "p",
        "row": 0,
        "source_bytes": 1,
        "alpha_bytes": 0,
    }


@given(st.lists(THUMBNAILS, min_size=1, max_size=130))
@settings(max_examples=40, deadline=None)
def test_every_range_of_the_catalog_is_the_thumbnail(thumbnails):
    rows = [
        plain_row(entry(f"{at}"), thumbnail=one, status="empty" if one is None else "ok")
        for at, one in enumerate(thumbnails)
    ]
    [chunk] = cut([entry()], 0, 64)
    content = encode_part(rows, facts_for(PLAN, chunk))
    found = catalog_rows("packs/x", content).to_pylist()
    ranges = [None if one["offset"] is None else content[one["offset"] :][: one["length"]] for one in found]
    assert ranges == thumbnails
    assert [one["row"] for one in found] == list(range(len(thumbnails)))
    cells = pq.read_table(io.BytesIO(content))["thumbnail"].to_pylist()
    assert [cell and cell["bytes"] for cell in cells] == thumbnails


@given(st.lists(st.integers(0, ROW_GROUP_THUMBNAIL_BYTES * 2), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_row_groups_hold_512_kib_of_thumbnails_or_one(sizes):
    table = to_table([plain_row(entry(f"{at}"), thumbnail=bytes(size)) for at, size in enumerate(sizes)])
    groups, start = list(row_groups(table)), 0
    for num_rows in groups:
        assert num_rows == 1 or sum(sizes[start : start + num_rows]) <= ROW_GROUP_THUMBNAIL_BYTES
        start += num_rows
    assert start == len(sizes)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdé𝄞"), st.integers(0, 5), st.booleans()),
        max_size=40,
        unique_by=lambda row: row[:2],
    )
)
@settings(max_examples=60, deadline=None)
def test_the_newest_good_row_of_a_key_is_current_else_the_newest_failure(rows):
    table = pa.Table.from_pylist(
        [catalog_row(key, generation, "ok" if good else "empty") for key, generation, good in rows], CATALOG_SCHEMA
    )
    found = [(row["key"], row["generation"], row["status"] == "ok") for row in current_rows(table).to_pylist()]
    expected = []
    for key in sorted({row[0] for row in rows}, key=str.encode):
        mine = [row for row in rows if row[0] == key]
        expected.append(max(mine, key=lambda row: (row[2], row[1])))
    assert found == expected


@given(st.lists(st.lists(KEYS, max_size=25), max_size=12), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_a_catalog_of_many_files_is_sorted_disjoint_and_whole(tables, file_rows):
    location = locate(f"memory://catalogs/{abs(hash(str(tables)))}-{file_rows}")
    kept, catalogs.FILE_ROWS = catalogs.FILE_ROWS, file_rows
    try:
        given_tables = [
            pa.Table.from_pylist([catalog_row(key, at) for key in dict.fromkeys(keys)], CATALOG_SCHEMA)
            for at, keys in enumerate(tables)
        ]
        files, totals = write_catalog(location, 0, given_tables)
    finally:
        catalogs.FILE_ROWS = kept
    archive = archive_of(location, files, totals)
    keys = [row["key"] for table in archive.select() for row in table.to_pylist()]
    assert keys == sorted({key for one in tables for key in one}, key=str.encode)
    assert totals.num_images == len(keys) == sum(file.num_rows for file in files)
    for file in files:
        assert file.first_key.encode() <= file.last_key.encode()
    for key in keys:
        found = archive.find(key)
        assert found is not None, key
        assert found.generation == max(at for at, one in enumerate(tables) if key in one)
    assert archive.find("no such key \N{SNOWMAN}") is None


def archive_of(location: Location, files: list, totals: Totals) -> Archive:
    sealed = Seal(number=0, parent="", plan_digest="", codec_digest="", totals=totals, packs=[], catalog=files)
    return Archive(location, document_for(), sealed)


def test_keys_too_long_for_parquet_statistics_are_found(monkeypatch):
    monkeypatch.setattr(catalogs, "FILE_ROWS", 5)
    monkeypatch.setattr(catalogs, "ROW_GROUP_ROWS", 2)
    keys = [f"{'x' * 5000}{at:02d}/é" for at in range(12)] + ["a", "z", "𝄞" * 2000, "￿"]
    table = pa.Table.from_pylist([catalog_row(key) for key in keys], CATALOG_SCHEMA)
    location = locate("memory://long/a.regrow")
    archive = archive_of(location, *write_catalog(location, 0, [table]))
    assert [key for key in keys if (found := archive.find(key)) is None or found.key != key] == []
    assert archive.find("x" * 5000) is None
    assert archive.find("") is None


def test_chunk_ids_are_golden():
    chunks = cut([entry("a.jpg"), entry('ä/"b"\n.jpg', 3, ""), entry("c", 0)], 7, 2)
    assert [chunk.id for chunk in chunks] == ["00007-00000000-d1db14a80485bb13", "00007-00000001-d466b17b91a3405f"]


@given(st.lists(st.tuples(KEYS, KEYS, st.text(max_size=3), st.integers(0, 2**40), KEYS), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_chunk_ids_follow_the_recipe_of_the_specification(rows):
    def clean(text):
        return text.encode("utf-8", "ignore").decode()

    rows = [tuple(clean(one) if isinstance(one, str) else one for one in row) for row in rows]
    [chunk] = chunks_of(
        [Entry(key=k, uri=u, locator=place, size=min(s, 1000), etag=e) for k, u, place, s, e in rows], 3
    )
    canonical = json.dumps(
        [[k, u, place, min(s, 1000), e] for k, u, place, s, e in rows], separators=(",", ":"), ensure_ascii=False
    )
    assert chunk.id == f"00003-00000000-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


@given(st.lists(st.integers(0, 80 << 20), max_size=200))
@settings(max_examples=50, deadline=None)
def test_chunks_hold_64_images_and_64_mib_at_most_or_one_larger_image(sizes):
    entries = [entry(str(at), size) for at, size in enumerate(sizes)]
    chunks = list(chunks_of(entries, 0))
    assert [one for chunk in chunks for one in chunk.entries] == entries
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert 1 <= len(chunk.entries) <= 64
        assert len(chunk.entries) == 1 or sum(one.size for one in chunk.entries) <= 64 << 20


def test_of_two_plans_made_of_different_listings_exactly_one_counts(place):
    images = {f"{at}": jpeg(at) for at in range(4)}
    first = write_plan(place, entries_of(images), chunk_images=2)
    second = write_plan(place, entries_of({**images, "late": jpeg(9)}), chunk_images=2)
    assert second == first
    assert [one.key for chunk in planned_chunks(place, second) for one in chunk.entries] == list(images)
    put_parts(place, second, images)
    seal(place, second)
    planned = {Path(stored.url).name for stored in place.store.walk(place.at("plan"))}
    assert planned == {"plan.json", first.index.name, *(file.name for file in first.files)}


def test_a_plan_for_another_codec_is_refused(place):
    write_plan(place, [entry()])
    with pytest.raises(ArchiveError, match="another codec"):
        write_plan(place, [entry()], codec_digest="other")


def test_a_plan_file_or_index_that_was_changed_is_noticed(place):
    plan = write_plan(place, [entry()])
    place.store.put(place.plan(0, plan.index.name), b"other")
    with pytest.raises(ArchiveError, match="not as it was written"):
        planned_chunks(place, plan)


def test_the_first_part_stays_whatever_a_second_writer_brings(place):
    plan = write_plan(place, [entry()])
    [chunk] = planned_chunks(place, plan)
    put_part(place, [plain_row(entry(), thumbnail=b"first")], facts_for(plan, chunk))
    before = place.store.read(place.part(chunk.id))
    size = put_part(place, [plain_row(entry(), thumbnail=b"second")], facts_for(plan, chunk))
    assert (place.store.read(place.part(chunk.id)), size) == (before, len(before))


@pytest.mark.parametrize("field", ["plan_digest", "codec_digest", "chunk_id"])
def test_a_part_of_another_plan_or_codec_stops_a_second_writer_and_the_seal(place, field):
    plan = write_plan(place, [entry()])
    [chunk] = planned_chunks(place, plan)
    other = msgspec.structs.replace(facts_for(plan, chunk), **{field: "other"})
    place.store.put_new(place.part(chunk.id), encode_part([plain_row(entry())], other))
    with pytest.raises(ArchiveError, match="two archives met"):
        put_part(place, [plain_row(entry())], facts_for(plan, chunk))
    with pytest.raises(ArchiveError, match="were planned"):
        seal(place, plan)


def test_a_generation_without_all_its_parts_is_not_sealed_and_says_how_many_lack(place):
    images = {f"{at}": jpeg(at) for at in range(4)}
    plan = write_plan(place, entries_of(images), chunk_images=2)
    put_parts(place, plan, images)
    place.store.remove([place.part(planned_chunks(place, plan)[1].id)])
    with pytest.raises(Unfinished, match="1 of 2 chunks are not done"):
        seal(place, plan)
    assert highest_seal(place) is None


def test_growth_adds_and_a_failure_never_supersedes_a_good_row(tmp_path):
    location = make_archive(
        tmp_path / "a", {"kept": jpeg(1), "mended": failed(), "still": failed(), "changed": jpeg(2)}
    )
    grow_archive(
        location, {"kept": failed(), "mended": jpeg(3), "still": b"no image", "changed": jpeg(4), "new": jpeg(5)}
    )
    rows = {row["key"]: (row["generation"], row["status"]) for row in catalog_of(location)}
    assert rows == {
        "changed": (1, "ok"), "kept": (0, "ok"), "mended": (1, "ok"), "new": (1, "ok"), "still": (1, "not_an_image")
    }  # fmt: skip
    totals = highest_seal(location).totals
    assert (totals.num_images, totals.num_good, totals.failures) == (5, 4, {"not_an_image": 1})
    grow_archive(location, {"still": jpeg(6)}, "retry")
    archive = Archive.open(location.url)
    assert (len(archive), archive.seal.totals.num_good, list(archive.failures())) == (5, 5, [])
    for row in [archive.find(key) for key in rows]:
        assert hashlib.sha256(archive.thumbnail(row)).hexdigest() == archive.facts(row).thumbnail_sha256
    assert archive.seal.parent == hashlib.sha256(location.store.read(location.seal(1))).hexdigest()


def test_a_sealed_archive_reads_the_same_while_it_grows(tmp_path):
    location = make_archive(tmp_path / "a")
    before = Archive.open(location.url)
    rows = [row for table in before.select() for row in table.to_pylist()]
    grow_archive(location, {"new": jpeg(1)}, sealed=False)
    assert [row for table in Archive.open(location.url).select() for row in table.to_pylist()] == rows


def test_an_archive_of_failures_alone_and_an_empty_generation_seal_and_open(tmp_path):
    location = make_archive(tmp_path / "a", {"a": failed(), "b": b"", "c": b"text"})
    grow_archive(location, {})
    archive = Archive.open(location.url)
    assert {row.key: row.status for row in archive.failures()} == {"a": "unreadable", "b": "empty", "c": "not_an_image"}
    assert archive.seal.totals == Totals(num_images=3, failures={"unreadable": 1, "empty": 1, "not_an_image": 1})
    empty = Archive.open(make_archive(tmp_path / "empty", {}).url)
    assert (len(empty), empty.find("a"), list(empty.failures())) == (0, None, [])


@pytest.mark.parametrize(("limit", "value"), [("PACK_BYTES", 20_000), ("PACK_ROWS", 7)])
def test_packs_close_at_their_limit_and_keep_the_order_of_the_plan(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(packs, limit, value)
    images = {f"{at:03d}": jpeg(at) for at in range(20, 0, -1)}
    location = make_archive(tmp_path / "a", images, chunk_images=2)
    sealed = highest_seal(location)
    assert len(sealed.packs) > 2
    assert limit == "PACK_BYTES" or [pack.num_rows for pack in sealed.packs] == [6, 6, 6, 2]
    content = {pack.name: location.store.read(location.at(pack.name)) for pack in sealed.packs}
    packed = [key for one in content.values() for key in pq.read_table(io.BytesIO(one))["key"].to_pylist()]
    assert packed == list(images)
    for pack in sealed.packs:
        assert (hashlib.sha256(content[pack.name]).hexdigest(), len(content[pack.name])) == (
            pack.sha256,
            pack.num_bytes,
        )
    for row in catalog_of(location):
        thumbnail = content[row["pack"]][row["offset"] : row["offset"] + row["length"]]
        assert hashlib.sha256(thumbnail).hexdigest() == row["sha256"]


def test_damage_is_noticed_where_it_lies(tmp_path):
    location = make_archive(tmp_path / "a")
    archive = Archive.open(location.url)
    row = archive.find("png/002.png")
    pack = Path(location.at(row.pack))
    content = bytearray(pack.read_bytes())
    content[row.offset + 20] ^= 1
    pack.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"png/002\.png' is damaged"):
        archive.thumbnail(row)
    catalog = Path(location.at(archive.seal.catalog[0].name))
    catalog.write_bytes(catalog.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match="not as it was sealed"):
        list(archive.select())


@pytest.mark.parametrize("sealed", [True, False])
def test_pandas_and_duckdb_open_every_table(tmp_path, sealed):
    location = make_archive(tmp_path / "a", {**small_images(), "bad": b"no"}, sealed=sealed)
    for path in Path(location.url).glob("**/*.parquet"):
        expected = pq.read_table(path).num_rows
        assert len(pandas.read_parquet(path)) == expected
        assert duckdb.sql(f"select * from '{path}'").fetchall().__len__() == expected
    [table] = Path(location.url).glob("packs/*" if sealed else "parts/*")
    found = duckdb.sql(f"select key, thumbnail.bytes from '{table}' where status = 'ok' order by key").fetchall()
    assert len(found) == 6
    assert all(bytes(content[8:12]) == b"WEBP" for _, content in found)


@pytest.mark.parametrize("sealed", [True, False])
def test_hugging_face_is_told_that_the_thumbnails_are_images(tmp_path, sealed):
    location = make_archive(tmp_path / "a", sealed=sealed)
    [table] = Path(location.url).glob("packs/*" if sealed else "parts/*")
    metadata = pq.read_schema(table).metadata
    assert json.loads(metadata[b"huggingface"])["info"]["features"]["thumbnail"] == {"_type": "Image"}
    assert json.loads(metadata[b"regrow"])["codec_digest"] == document_for().codec_digest


def test_known_keys_tell_new_same_and_changed_apart(tmp_path):
    location = make_archive(tmp_path / "a", {"good": jpeg(1), "bad": failed()})
    known = KnownKeys(read_catalog(location, highest_seal(location)))
    size = len(jpeg(1))
    asked = [entry("good", size, "1"), entry("good", size, "2"), entry("bad", 0, "1"), entry("bad", 0, "2"), entry("x")]
    assert known.standing(asked) == ["same", "changed", "same", "new", "new"]


def test_a_newer_format_is_refused_with_the_remedy(place):
    document = json.loads(place.store.read(place.at("archive.json")))
    place.store.put(place.at("archive.json"), json.dumps({**document, "format": 2}).encode())
    with pytest.raises(ArchiveError, match=r"format 2.*upgrade"):
        Archive.open(place.url)


def test_what_later_versions_may_add_does_no_harm(tmp_path):
    location = make_archive(tmp_path / "a")
    for name in ("archive.json", "seals/00000.json", "plan/00000/plan.json"):
        content = json.loads(location.store.read(location.at(name)))
        location.store.put(location.at(name), json.dumps({**content, "later": [1]}).encode())
    (tmp_path / "a" / "later").mkdir()
    (tmp_path / "a" / "later" / "x.json").write_text("{}")
    assert len(Archive.open(location.url)) == 6
    assert read_plan(location, 0).num_images == 6
    assert grow_archive(location, {"new": jpeg(1)}).generation == 1


@pytest.mark.parametrize("folder", ["packs", "catalog"])
def test_a_column_that_a_later_version_added_is_ignored(tmp_path, folder):
    location = make_archive(tmp_path / "a")
    [file] = (tmp_path / "a" / folder).rglob("*.parquet")
    table = pq.read_table(file)
    pq.write_table(
        table.append_column("later", pa.array([1] * table.num_rows)), file, compression="none", use_dictionary=False
    )
    sealed = json.loads(location.store.read(location.seal(0)))
    for named in (*sealed["packs"], *sealed["catalog"]):
        named["sha256"] = hashlib.sha256(location.store.read(location.at(named["name"]))).hexdigest()
    location.store.put(location.seal(0), json.dumps(sealed).encode())
    cached_footer.cache_clear()
    archive = Archive.open(location.url)
    assert sum(found.num_rows for found in archive.select(where="width > 0")) == 6
    assert archive.facts(archive.find("png/002.png")).format == "PNG"
    grow_archive(location, {"new": jpeg(1)})
    assert len(catalog_of(location)) == 7


def test_an_archive_in_memory_is_as_one_in_a_folder(tmp_path):
    there, here = make_archive("memory://places/a.regrow"), make_archive(tmp_path / "a")
    assert catalog_of(there) == catalog_of(here)
    assert highest_seal(there) == highest_seal(here)
    archive = Archive.open(there.url)
    assert archive.thumbnail(archive.find("png/002.png"))[8:12] == b"WEBP"


def test_publishing_the_same_plan_twice_is_one_plan(place):
    plan = write_plan(place, [entry()])
    assert publish(place, plan) == plan == read_plan(place, 0)


def test_a_seal_is_found_again_by_a_second_driver(tmp_path):
    location = make_archive(tmp_path / "a")
    plan = read_plan(location, 0)
    assert seal_generation(location, plan, lambda _: iter(())) == highest_seal(location)


@pytest.mark.parametrize("document", [ArchiveDocument, Reading, Plan, PlanFile, Seal, Pack, CatalogFile, Totals])
def test_the_specification_names_every_member_of_a_document(document):
    text = SPECIFICATION.read_text()
    assert [name for name in document.__struct_fields__ if f"`{name}`" not in text] == []
