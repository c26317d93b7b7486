"""What stands in an archive or at a source and is not as it should be: told, never taken for something else."""

import pytest

from jobs.info import read_info
from ops.archive.known import KnownKeys
from ops.archive.layout import ArchiveError
from ops.archive.parquet import row_groups
from ops.archive.ranges import cached_footer
from ops.archive.reading import Archive
from ops.archive.rows import ImageRow, to_table
from ops.archive.seals import read_catalog
from ops.readers.base import Entry
from pipelines.planning import Target, plan_first, plan_growth
from pipelines.requests import ArchiveRequest
from tests import makers
from tests.archives import document_for, make_archive, small_images


def test_a_stray_file_beside_the_seals_is_passed_over(tmp_path):
    make_archive(tmp_path / "a")
    (tmp_path / "a" / "seals" / "00000 (copy).json").write_text("{}")
    assert len(Archive.open(str(tmp_path / "a"))) == len(small_images())


@pytest.mark.parametrize("name", ["archive.json", "seals/00000.json"])
def test_a_damaged_document_is_named_in_one_line(tmp_path, name):
    make_archive(tmp_path / "a")
    (tmp_path / "a" / name).write_text('{"format": ')
    with pytest.raises(ArchiveError, match="restore it from a copy") as refused:
        Archive.open(str(tmp_path / "a"))
    assert name in str(refused.value)


def test_a_damaged_plan_is_named_in_one_line(tmp_path):
    location = make_archive(tmp_path / "a")
    plan = tmp_path / "a" / "plan" / "00000" / "plan.json"
    plan.write_bytes(plan.read_bytes()[:100])
    with pytest.raises(ArchiveError, match=r"plan/00000/plan\.json is damaged .*restore it from a copy"):
        read_info(location.url)


@pytest.mark.parametrize("content", ['{"name": "other"}', "[1]", '"text"'])
def test_another_programs_archive_json_is_called_that(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "archive.json").write_text(content)
    with pytest.raises(ArchiveError, match=r"archive\.json that regrow did not write: name another place"):
        Archive.open(str(tmp_path / "a"))


def broken(path, start, end=None):
    """Overwrite bytes of a file with others."""
    content = bytearray(path.read_bytes())
    span = range(*slice(start, end).indices(len(content)))
    content[span.start : span.stop] = b"\xa5" * len(span)
    path.write_bytes(content)


# In a footer, before its length and magic; in the first page, behind the magic at the start.
@pytest.mark.parametrize(("start", "end"), [(-200, -8), (-8, -4), (4, 60)])
@pytest.mark.parametrize("folder", ["packs", "catalog"])
def test_a_damaged_pack_or_catalog_is_named_in_one_line(tmp_path, folder, start, end):
    archive = Archive.open(make_archive(tmp_path / "a").url)
    row = archive.find("png/002.png")
    [path] = (tmp_path / "a" / folder).rglob("*.parquet")
    broken(path, start, end)
    cached_footer.cache_clear()
    with pytest.raises(ArchiveError, match="restore it from a copy") as refused:
        archive.find("png/002.png") if folder == "catalog" else archive.facts(row)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_reached_is_not_called_damaged(tmp_path):
    archive = Archive.open(make_archive(tmp_path / "a").url)
    row = archive.find("png/002.png")
    (tmp_path / "a" / row.pack).unlink()
    with pytest.raises(FileNotFoundError):
        archive.facts(row)


def test_row_groups_close_on_alpha_and_metadata_too():
    row = {"generation": 0, "thumbnail": b"t" * 1000, "media_type": "image/webp", "uri": "", "locator": "", "etag": ""}
    rows = [ImageRow(key=f"{i}", source_bytes=1, alpha=b"a" * 200_000, exif=b"e" * 100_000, **row) for i in range(5)]
    assert list(row_groups(to_table(rows))) == [1, 1, 1, 1, 1]
    assert list(row_groups(to_table([ImageRow(key=f"{i}", source_bytes=1, **row) for i in range(5)]))) == [5]


def test_of_an_entry_of_unknown_size_and_etag_it_cannot_be_told_whether_it_changed(tmp_path):
    make_archive(tmp_path / "a")
    archive = Archive.open(str(tmp_path / "a"))
    known = KnownKeys(read_catalog(archive.location, archive.seal))
    key = next(iter(small_images()))
    entries = [
        Entry(key=key, uri="http://x", size=0),
        Entry(key=key, uri="http://x", size=5),
        Entry(key="new", uri="", size=0),
    ]
    assert known.standing(entries) == ["untold", "changed", "new"]


def make_folder(folder, *names):
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / name).write_bytes(makers.encode(makers.photo(20, 20, seed=number), "JPEG"))
    return folder


def target_of(location):
    archive = Archive.open(location.url)
    return Target(location, archive.document, archive.seal)


@pytest.mark.parametrize("changed", ["refuse", "skip", "new"])
def test_a_key_that_another_source_has_taken_is_no_change(tmp_path, changed):
    key = next(iter(small_images())).rsplit("/", 1)[-1]
    source = make_folder(tmp_path / "jpg", key)
    location = make_archive(tmp_path / "a", {key: (source / key).read_bytes()})
    request = ArchiveRequest(source=str(source), archive=location.url, changed=changed)
    with pytest.raises(ArchiveError, match=f"{key}' already, of memory://source"):
        plan_growth(target_of(location), request)


def test_a_damaged_shard_stands_in_the_plan_as_a_problem(tmp_path):
    source = make_folder(tmp_path / "photos", "a.jpg")
    (source / "broken.tar").write_bytes(b"no tar at all" * 100)
    location = make_archive(tmp_path / "a")
    request = ArchiveRequest(source=str(source), archive=str(tmp_path / "b"))
    plan = plan_first(Target(location.__class__(str(tmp_path / "b")), document_for(), None), request)
    assert plan.num_images == 1
    assert len(plan.problems) == 1
    assert "broken.tar: not all images of this shard are planned" in plan.problems[0]
