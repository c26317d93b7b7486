"""A data set is whole, or it is said before the run what of it is missing."""

from pathlib import Path

import fsspec
import numpy as np
import pytest

from jobs.dataset_facts import DATASETS
from jobs.datasets import DatasetError, dataset_source, find_dataset, known_datasets, parse_dataset
from jobs.errors import UsageError
from ops.sources import ScanReport, scan
from tests.makers import encode

DOT = encode(np.zeros((1, 1, 3), np.uint8))


def fill(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DOT)
    return folder


def numbered(first: int, last: int, pattern: str = "{:04d}.png") -> list[str]:
    return [pattern.format(n) for n in range(first, last + 1)]


def keys_of(source: str) -> list[str]:
    return sorted(entry.key for entry in scan(source, report=ScanReport()))


def test_a_split_in_a_folder_of_its_own_is_that_folder(tmp_path):
    fill(tmp_path / "DIV2K_valid_HR", numbered(801, 900))
    fill(tmp_path / "DIV2K_train_HR", numbered(1, 800))
    found = find_dataset("div2k", str(tmp_path), "valid")
    assert len(found.files) == 100
    assert found.files[0] == str(tmp_path / "DIV2K_valid_HR" / "0801.png")
    assert dataset_source(found) == str(tmp_path / "DIV2K_valid_HR")
    assert keys_of(dataset_source(found)) == found.keys == numbered(801, 900)


def test_without_a_split_the_first_is_meant(tmp_path):
    fill(tmp_path, numbered(1, 24, "kodim{:02d}.png"))
    assert parse_dataset("kodak") == ("kodak", "test") == parse_dataset("Kodak:test")
    assert find_dataset("kodak", str(tmp_path)).folder == str(tmp_path)


@pytest.mark.parametrize("layout", ["DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "valid_HR", "DIV2K_train_HR", ""])
def test_every_common_layout_gives_the_same_keys_and_digest(tmp_path, layout):
    fill(tmp_path / "given" / layout, numbered(801, 900))
    fill(tmp_path / "plain", numbered(801, 900))
    given, plain = (find_dataset("div2k", str(tmp_path / root), "valid") for root in ("given", "plain"))
    assert given.keys == plain.keys
    assert given.digest == plain.digest
    assert given.folder == str(tmp_path / "given" / layout).rstrip("/")


def test_a_split_among_other_images_is_a_list_that_names_only_its_own(tmp_path):
    fill(tmp_path / "DIV2K_train_HR", numbered(1, 900))
    found = find_dataset("div2k", str(tmp_path), "valid")
    assert found.folder == ""
    assert len(found.extra) == 800
    assert "DIV2K_train_HR/0800.png" in found.extra
    source = dataset_source(found, str(tmp_path / "lists"))
    assert source == dataset_source(found, str(tmp_path / "lists"))
    assert keys_of(source) == numbered(801, 900)


def test_a_zip_beside_the_images_is_not_measured_with_them(tmp_path):
    fill(tmp_path, [*numbered(1, 24, "kodim{:02d}.png"), "kodak.zip", "readme.txt", "._kodim01.png"])
    found = find_dataset("kodak", str(tmp_path))
    assert found.extra == ["kodak.zip"]
    assert keys_of(dataset_source(found, str(tmp_path / "lists"))) == numbered(1, 24, "kodim{:02d}.png")


def test_lists_go_to_the_cache_of_the_user_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fill(tmp_path / "k", [*numbered(1, 24, "kodim{:02d}.png"), "other.png"])
    source = dataset_source(find_dataset("kodak", str(tmp_path / "k")))
    assert source.startswith(str(tmp_path / "cache" / "regrow" / "lists" / "kodak-test-"))
    assert len(keys_of(source)) == 24


def test_missing_files_are_named_with_the_remedy(tmp_path):
    gone = {"0805.png", *numbered(810, 819)}
    fill(tmp_path / "DIV2K_valid_HR", [name for name in numbered(801, 900) if name not in gone])
    with pytest.raises(DatasetError) as error:
        find_dataset("div2k", str(tmp_path), "valid")
    message = str(error.value)
    assert f"div2k:valid is not complete below {tmp_path}: 89 of 100 images in DIV2K_valid_HR" in message
    assert "missing 0805.png, 0810.png, 0811.png, 0812.png, 0813.png and 6 more" in message
    assert "https://data.vision.ee.ethz.ch/cvl/DIV2K/" in message
    assert "or name the folder itself as the source" in message
    assert "\n" not in message


def test_an_empty_file_is_not_there(tmp_path):
    fill(tmp_path, numbered(1, 24, "kodim{:02d}.png"))
    (tmp_path / "kodim07.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"23 of 24 images in the root; empty kodim07\.png"):
        find_dataset("kodak", str(tmp_path))


def test_a_wrong_root_is_told_where_was_looked_and_what_is_there(tmp_path):
    fill(tmp_path / "holidays", ["a.png", "b.jpg"])
    with pytest.raises(DatasetError) as error:
        find_dataset("urban100", str(tmp_path))
    assert "none of 100 images (img_001.png to img_100.png) in Urban100_HR, HR, original, the root" in str(error.value)
    assert "images there: holidays (2)" in str(error.value)


def test_images_in_a_folder_that_was_not_looked_for_are_pointed_at(tmp_path):
    fill(tmp_path / "benchmarks" / "mine", numbered(1, 100, "img_{:03d}.png"))
    with pytest.raises(DatasetError, match="100 files of such names lie in benchmarks/mine: name it as the root"):
        find_dataset("urban100", str(tmp_path))
    assert len(find_dataset("urban100", str(tmp_path / "benchmarks" / "mine")).files) == 100


def test_a_root_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DatasetError, match="this folder cannot be listed: No such file or directory"):
        find_dataset("kodak", str(tmp_path / "nowhere"))
    with pytest.raises(Exception, match="the root of a data set is empty"):
        find_dataset("kodak", "")


def test_clic_is_two_folders_and_its_names_are_not_known(tmp_path):
    fill(tmp_path / "CLIC2020Professional_test" / "professional", numbered(1, 250, "p{}.png"))
    fill(tmp_path / "CLIC2020Mobile_test" / "mobile", numbered(1, 178, "m{}.png"))
    found = find_dataset("clic2020", str(tmp_path))
    assert (found.split, len(found.files)) == ("test", 428)
    assert {key.partition("/")[0] for key in found.keys} == {"professional", "mobile"}
    assert keys_of(dataset_source(found, str(tmp_path / "lists"))) == sorted(found.keys)
    assert len(find_dataset("clic2020", str(tmp_path), "mobile-test").files) == 178
    merged = fill(tmp_path / "merged", [key.partition("/")[2] for key in found.keys])
    assert find_dataset("clic2020", str(merged)).digest == found.digest


@pytest.mark.parametrize(
    ("count", "complaint"),
    [
        (40, "40 of 41 images in professional_valid_2020 .which are missing is not known"),
        (42, "professional_valid_2020 holds 42 images and should hold 41: take out those of other sets"),
    ],
)
def test_a_wrong_count_is_said_where_names_are_not_known(tmp_path, count, complaint):
    fill(tmp_path / "professional_valid_2020", numbered(1, count, "{}.png"))
    with pytest.raises(DatasetError, match=complaint):
        find_dataset("clic2020", str(tmp_path), "professional-valid")


@pytest.mark.parametrize(
    "layout", [("DIV2K/DIV2K_train_HR", "Flickr2K/Flickr2K_HR"), ("DF2K_train_HR", "DF2K_train_HR")]
)
def test_df2k_is_found_in_two_folders_or_in_one(tmp_path, layout):
    fill(tmp_path / layout[0], numbered(1, 800))
    fill(tmp_path / layout[1], numbered(1, 2650, "{:06d}.png"))
    found = find_dataset("df2k", str(tmp_path))
    assert len(found.files) == 3450
    assert (found.keys[0], found.keys[-1]) == ("DIV2K/0001.png", "Flickr2K/002650.png")
    (tmp_path / layout[1] / "000007.png").unlink()
    with pytest.raises(DatasetError, match=r"2,649 of 2,650 images in .*; missing 000007\.png"):
        find_dataset("df2k", str(tmp_path))


def test_a_data_set_lies_in_any_store(tmp_path):
    files = fsspec.filesystem("memory")
    for name in [*numbered(1, 24, "kodim{:02d}.png"), "extra.png"]:
        files.pipe(f"/sets/kodak/{name}", DOT)
    found = find_dataset("kodak", "memory://sets")
    assert len(found.files) == 24
    assert found.files[0].startswith("memory://")
    assert found.files[0].endswith("/sets/kodak/kodim01.png")
    assert found.digest == find_dataset("kodak", str(fill(tmp_path, numbered(1, 24, "kodim{:02d}.png")))).digest
    assert keys_of(dataset_source(found, str(tmp_path / "lists"))) == found.keys


def test_a_folder_of_a_store_is_a_source_of_its_own():
    files = fsspec.filesystem("memory")
    for name in numbered(1, 24, "kodim{:02d}.png"):
        files.pipe(f"/own/Kodak/{name}", DOT)
    found = find_dataset("kodak", "memory://own")
    assert found.folder == "memory://own/Kodak"
    assert keys_of(dataset_source(found)) == found.keys


def test_splits_for_training_are_marked(tmp_path):
    fill(tmp_path / "DIV2K_train_HR", numbered(1, 900))
    assert find_dataset("div2k", str(tmp_path), "train").training
    assert not find_dataset("div2k", str(tmp_path), "valid").training


def test_a_name_that_is_spelled_wrongly_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"no data set 'dib2k' \(did you mean div2k\?\): there are div2k, df2k"):
        parse_dataset("dib2k")
    with pytest.raises(UsageError, match=r"div2k has no split 'vaild' \(did you mean valid\?\): there are valid"):
        parse_dataset("div2k:vaild")


def test_the_counts_are_those_of_the_publications():
    spelled = known_datasets()
    for line in ("div2k:valid (100 images)", "div8k:train (1,500 images, training)", "clic2020:test (428 images)",
                 "df2k:train (3,450 images, training)", "lsdir:valid (250 images)", "kodak:test (24 images)",
                 "lsdir-train:train (84,991 images, training)", "urban100:test (100 images)"):  # fmt: skip
        assert line in spelled


def test_every_split_says_the_same_count_in_every_arrangement():
    for name, dataset in DATASETS.items():
        assert dataset.source, name
        assert dataset.terms, name
        for split in dataset.splits.values():
            assert {sum(portion.count for portion in way) for way in split.ways} == {split.count}, name


def test_lsdir_training_lies_in_folders_of_a_thousand():
    place = DATASETS["lsdir-train"].splits["train"].ways[0][0].places[0]
    names = list(place.names(1, 84_991))
    assert (names[0], names[999], names[1000]) == ("0001000/0000001.png", "0001000/0001000.png", "0002000/0001001.png")
    assert names[-1] == "0085000/0084991.png"
