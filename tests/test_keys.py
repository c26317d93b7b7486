"""Names become keys, keys become unique, and keys become names of outputs."""

from pathlib import Path
from posixpath import normpath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ops.keys import HashSet, KeySet, OutputNames, key_of, output_name
from tests.makers_sources import HARD_NAMES

raw_names = st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
rough = st.text(alphabet="aAé./\\~%2\n\0", max_size=12).map(key_of)
keys = rough | raw_names.map(key_of)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("صورة/a.jpg", "صورة/a.jpg"),
        (b"a\xff\xfe.jpg", "a%FF%FE.jpg"),
        (b"a%20b.jpg", "a%2520b.jpg"),
        ("e\u0301.jpg", "e\u0301.jpg"),
        ("a\udcff.jpg", "a%FF.jpg"),
        ("a\ud800.jpg", "a%ED%A0%80.jpg"),
    ],
)
def test_a_key_shows_its_raw_name(raw, key):
    assert key_of(raw) == key
    key.encode()


@given(raw_names, raw_names)
@example(b"\xff", b"%FF")
@example(b"%25FF", b"%FF")
def test_different_names_give_different_keys(one, other):
    assert (key_of(one) == key_of(other)) == (one == other)


def test_collisions_are_numbered_before_the_suffix_and_in_order():
    unique = KeySet()
    assert unique.unique(["a.jpg", "a.jpg", "b/c", "a.jpg"]) == ["a.jpg", "a~2.jpg", "b/c", "a~3.jpg"]
    assert unique.unique(["b/c", "a.jpg", "d.e/f", "d.e/f"]) == ["b/c~2", "a~4.jpg", "d.e/f", "d.e/f~2"]
    assert unique.num_renamed == 5


def test_a_number_that_is_taken_is_not_given():
    assert KeySet().unique(["a~2.jpg", "a.jpg", "a.jpg"]) == ["a~2.jpg", "a.jpg", "a~3.jpg"]
    assert KeySet().unique(["a.jpg", "a.jpg", "a~2.jpg"]) == ["a.jpg", "a~2.jpg", "a~2~2.jpg"]


@given(
    st.lists(st.sampled_from(["a.jpg", "a~2.jpg", "a~2~2.jpg", "a~3.jpg", "a", "a~2", ".jpg", "x/", ""]), max_size=30),
    st.integers(1, 7),
)
def test_unique_keys_are_unique_and_do_not_depend_on_batches(names, size):
    batched = KeySet()
    in_batches = [key for start in range(0, len(names), size) for key in batched.unique(names[start : start + size])]
    whole = KeySet()
    assert in_batches == whole.unique(names)
    assert len(set(in_batches)) == len(names)
    assert whole.num_renamed == sum(key != name for key, name in zip(in_batches, names, strict=True))


def test_keys_cost_eight_bytes_each():
    seen = HashSet()
    for start in range(0, 100_000, 1000):
        seen.add(seen.hashes(f"folder/{number}.jpg" for number in range(start, start + 1000)))
    assert sum(run.nbytes for run in seen._runs) == 800_000
    assert len(seen._runs) < 12
    assert seen.holds(seen.hashes(["folder/0.jpg", "folder/99999.jpg", "folder/100000.jpg"])).tolist() == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a.jpg", "a.jpg.png"),
        ("t.tar/../../etc/passwd", "t.tar/%2E%2E/%2E%2E/etc/passwd.png"),
        ("/etc/x", "%/etc/x.png"),
        ("a/./b", "a/%2E/b.png"),
        ("a\\..\\b", "a%5C..%5Cb.png"),
        ("a\0\nb", "a%00%0Ab.png"),
        ("", "%.png"),
        ("a~2.jpg", "a~2.jpg.png"),
    ],
)
def test_an_output_is_named_by_its_key_and_stays_below_its_folder(key, name):
    assert output_name(key, "png") == name


@given(keys, keys)
@example("a/b", "a//b")
@example("..", key_of("%2E%2E"))
@settings(max_examples=400)
def test_different_keys_give_different_output_names(one, other):
    assert (output_name(one, "png") == output_name(other, "png")) == (one == other)


@given(st.text(max_size=400).map(key_of) | keys)
def test_every_output_name_is_safe(key):
    name = output_name(key, "png")
    assert not name.startswith("/")
    assert normpath(name) == name
    assert "\\" not in name
    assert all(0 < len(segment.encode()) <= 255 for segment in name.split("/"))
    assert not any(ord(letter) < 32 or letter == "\x7f" for letter in name)


def test_long_segments_are_cut_alike_for_all_that_lie_in_one_folder(tmp_path: Path):
    long = "ä" * 200
    one, other = output_name(f"{long}/x.jpg", "png"), output_name(f"{long}/y.jpg", "png")
    assert one.split("/")[0] == other.split("/")[0]
    assert output_name(f"{long}1", "png") != output_name(f"{long}2", "png")
    (tmp_path / one).parent.mkdir()
    (tmp_path / one).write_bytes(b"")
    (tmp_path / output_name(long, "png")).write_bytes(b"")


def test_a_key_that_ends_like_a_tag_cannot_be_taken_for_a_cut_one():
    long = "x" * 300
    cut = output_name(long, "png")
    assert output_name(cut.removesuffix(".png"), "png") != cut


def test_names_that_differ_only_in_case_or_composition_are_told_apart_in_any_order():
    collide = ["A.jpg", "a.jpg", "caf\u00e9", "cafe\u0301", "b"]
    names = OutputNames(collide, "png")
    given_names = [names.name_of(key) for key in collide]
    assert given_names[4] == "b.png"
    assert all("~" in name for name in given_names[:4])
    assert len({name.casefold() for name in given_names}) == 5
    assert [OutputNames(reversed(collide), "png").name_of(key) for key in collide] == given_names


def test_a_name_that_is_a_folder_of_another_one_gives_way(tmp_path: Path):
    keys_there = ["a", "a.PNG/b"]
    names = OutputNames(keys_there, "png")
    assert names.name_of("a").startswith("a~")
    assert names.name_of("a.PNG/b") == "a.PNG/b.png"


@given(st.lists(keys, unique=True, max_size=20))
def test_a_selection_can_be_written_on_a_system_without_case(selection):
    names = OutputNames(selection, "png")
    written = [names.name_of(key).casefold() for key in selection]
    assert len(set(written)) == len(selection)
    assert not any(other.startswith(f"{name}/") for name in written for other in written)


def test_hard_names_can_all_be_written(tmp_path: Path):
    names = OutputNames(map(key_of, HARD_NAMES), "png")
    for name in HARD_NAMES:
        (tmp_path / names.name_of(key_of(name))).write_bytes(name.encode())
    assert len(list(tmp_path.iterdir())) == len(HARD_NAMES)
