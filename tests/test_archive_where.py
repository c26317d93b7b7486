"""`--where` and `--match`: what is asked is what is selected, and hostile text is refused in one line."""

import fnmatch

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.archive.layout import ArchiveError
from ops.archive.match import parse_match
from ops.archive.packs import CATALOG_SCHEMA
from ops.archive.reading import Archive
from ops.archive.where import parse_where
from tests.archives import make_archive

ROWS = pa.Table.from_pylist(
    [
        {"key": "wide", "width": 400, "height": 300, "format": "JPEG", "status": "ok"},
        {"key": "tall", "width": 300, "height": 400, "format": "PNG", "status": "ok"},
        {"key": "huge", "width": 65_535, "height": 65_535, "format": "TIFF", "status": "ok"},
        {"key": "bad", "width": None, "height": None, "format": None, "status": "corrupt"},
    ],
    CATALOG_SCHEMA,
)


def chosen(where: str) -> list[str]:
    return ROWS.filter(parse_where(where))["key"].to_pylist()


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("width > 350", ["wide", "huge"]),
        ("  300 <= width < 500 ", ["wide", "tall"]),
        ("format == 'JPEG' or format == 'PNG' and width == 300", ["wide", "tall"]),
        ("not width > 350", ["tall"]),
        ("format in ['PNG', 'GIF']", ["tall"]),
        ("format not in ('PNG',) and status == 'ok'", ["wide", "huge"]),
        ("status != 'ok'", ["bad"]),
        ("width - height > -100 and width * 2 == 800", ["wide"]),
        ("width / height > 1.3", ["wide"]),
        ("width * height > 4_000_000_000", ["huge"]),
        ("width > 99999999999999999999", []),
        ("width in [400, 300.0]", ["wide", "tall"]),
        ("width in [400, 1000000000000000000000000000000]", ["wide"]),
        ("width > -99999999999999999999", ["wide", "tall", "huge"]),
    ],
)
def test_a_condition_selects_what_it_says(where, keys):
    assert chosen(where) == keys


HOSTILE = [
    "", "width", "width >", "size > 3", "__import__('os')", "width.real > 3", "[x for x in 'a']", "(lambda: 1)() > 0",
    "(width := 3) > 2", "f'{width}' == 'a'", "width > 1j", "width > None", "width > True", "width ** 9 > 1",
    "width % 2 == 0", "'a' * 10 > width", "width > \0", "width is 3", "key in 'abc'", "width > 3; 1",
    "width if 1 else 2",
    "(" * 300 + "1" + ")" * 300, "-" * 5000 + "1 > width", "width in [1, 'a']", " and ".join(["width > 0"] * 20_000),
    "width" + " + 1" * 20_000 + " > 0", "status in []", "key in ()", "width > 1" + "0" * 400,
    "width in [1" + "0" * 400 + "]",
]  # fmt: skip


@pytest.mark.parametrize("where", HOSTILE, ids=lambda where: where[:20])
def test_what_is_no_condition_is_refused_in_one_line(tmp_path_factory, where):
    archive = small_archive(tmp_path_factory)
    with pytest.raises(ArchiveError) as refused:
        list(archive.select(where=where or " "))
    assert str(refused.value).startswith("--where")
    assert "\n" not in str(refused.value)


MADE: list[Archive] = []


def small_archive(factory: pytest.TempPathFactory) -> Archive:
    if not MADE:
        MADE.append(Archive.open(make_archive(factory.mktemp("where") / "a").url))
    return MADE[0]


@pytest.mark.parametrize(
    "where", ["width > 'a'", "key > 3", "width + 'a' > 3", "width / 0 > 1", "width in ['a']", "key in [1]"]
)
def test_a_condition_that_does_not_fit_its_columns_says_so(tmp_path_factory, where):
    with pytest.raises(ArchiveError, match="cannot be applied"):
        list(small_archive(tmp_path_factory).select(where=where))


KEYS = [
    "a/b.jpg", "a/c.png", "b.jpg", "é.jpg", "a b", "x*y", "[a]", "a\nb", ".hidden", "A/B.JPG", "xaybz", "a\\b", "", "𝄞",
    "a|b", "a^b", "a$b", "z-a", "a&&b", "a~b",
]  # fmt: skip
PATTERNS = [
    "*", "a/*", "*.jpg", "?.jpg", "*a*b*", "[ab]*", "[!a]*", "x[*]y", "[[]a]", "a\nb", "*[.]JPG", "[z-a]", "[!z-a]",
    "é*",
    "a.b", "a|b", "a^b", "a$b", "[a-c]*", "[]-z]*", "(a)", "a\\b", "*" * 30 + "a", "[", "[!", "a[\\]b", "[^a]*", "",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_as_fnmatch_does(pattern):
    table = pa.table({"key": KEYS})
    expected = [key for key in KEYS if fnmatch.fnmatchcase(key, pattern)]
    assert table.filter(parse_match(pattern))["key"].to_pylist() == expected


@given(st.text("ab*?[]!-^\\.é/&|~", max_size=8), st.lists(st.text("ab*?[]!-^\\.é/\n&|~", max_size=6), max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_pattern_matches_as_fnmatch_does(pattern, keys):
    table = pa.table({"key": pa.array(keys, pa.string())})
    expected = [key for key in keys if fnmatch.fnmatchcase(key, pattern)]
    assert table.filter(parse_match(pattern))["key"].to_pylist() == expected
