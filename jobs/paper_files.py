"""Files of what one paper printed: their fields, and what is checked of them."""

from typing import Annotated

from msgspec import Meta, Struct

from jobs.datasets import parse_dataset
from jobs.errors import UsageError
from jobs.protocol_files import known_protocols, read_protocol
from jobs.strict_yaml import nearest, read_struct

UNKNOWN = "unknown"

Scale = Annotated[int, Meta(ge=2)]
Number = Annotated[float, Meta(ge=0)]


class Flag(Struct, frozen=True, forbid_unknown_fields=True):
    """Something wrong or unknown, and which rows it is about: all, where nothing narrows it."""

    text: str
    methods: list[str] = []
    datasets: list[str] = []
    scales: list[Scale] = []


class Block(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of one data set at one scale: for each method its numbers, in the order of the table's columns."""

    dataset: str
    split: str = ""
    scale: Scale
    rows: dict[str, list[float | None]]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of scores."""

    table: str
    source: str
    columns: list[str]
    blocks: list[Block]
    flags: list[Flag] = []


class TimeRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds per image and millions of parameters of one method."""

    method: str
    down_seconds: Number | None = None
    up_seconds: Number | None = None
    total_seconds: Number | None = None
    parameters: Number | None = None
    trainable: Number | None = None


class TimeTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of times, and what they were taken on."""

    table: str
    source: str
    setting: str
    rows: list[TimeRow]
    flags: list[Flag] = []


class StorageRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one method's files take."""

    method: str
    kilobytes: Number
    ratio: Number | None = None
    lpips_vgg: Number | None = None


class StorageTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of bytes, and of which images."""

    table: str
    source: str
    setting: str
    rows: list[StorageRow]
    flags: list[Flag] = []


class Paper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of what one paper printed."""

    paper: str
    title: str
    protocol: str
    unsure: dict[str, str] = {}
    flags: list[Flag] = []
    tables: list[Table] = []
    times: list[TimeTable] = []
    storage: list[StorageTable] = []


def flags_of(flags: list[Flag], method: str, dataset: str = "", scale: int = 0) -> list[str]:
    """Return the texts of the flags that are about a row."""
    return [
        flag.text
        for flag in flags
        if (not flag.methods or method in flag.methods)
        and (not flag.datasets or dataset in flag.datasets)
        and (not flag.scales or scale in flag.scales)
    ]


def read_paper(content: bytes | str, name: str) -> Paper:
    """Return what a file says, checked: data sets, columns and methods are known. Raises UsageError with its name."""
    try:
        paper = read_struct(content, Paper)
        for table in paper.tables:
            _check(table, paper)
        _check_flags(paper)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    return paper


def _check(table: Table, paper: Paper) -> None:
    """Raise UsageError where a table names what there is not, or a row has too few numbers or too many."""
    known = _columns(paper.protocol)
    for column in [*table.columns, *paper.unsure]:
        if column not in known:
            near = nearest(column, known)
            raise UsageError(
                f"{table.table}: no column {column}{near} in protocol {paper.protocol}: {', '.join(known)}"
            )
    for block in table.blocks:
        parse_dataset(f"{block.dataset}:{block.split}" if block.split else block.dataset)
        for method, numbers in block.rows.items():
            if len(numbers) != len(table.columns):
                where = f"{table.table}, {block.dataset} at {block.scale}x, {method}"
                raise UsageError(f"{where} has {len(numbers)} of {len(table.columns)} numbers: write null for none")


def _check_flags(paper: Paper) -> None:
    """Raise UsageError where a flag is about a method that has no row: it would be read by nobody."""
    methods = [{name for block in table.blocks for name in block.rows} for table in paper.tables]
    about = [(table.table, table.flags, names) for table, names in zip(paper.tables, methods, strict=True)]
    about += [(one.table, one.flags, {row.method for row in one.rows}) for one in [*paper.times, *paper.storage]]
    about += [(paper.paper, paper.flags, set[str]().union(*methods))]
    for where, flags, names in about:
        if lost := sorted({name for flag in flags for name in flag.methods} - names):
            raise UsageError(f"{where}: a flag is about {', '.join(lost)}, which has no row there")


def _columns(protocol: str) -> list[str]:
    """Return the columns of a preset, or of all where it is not known which is comparable."""
    presets = known_protocols() if protocol == UNKNOWN else [protocol]
    return list(dict.fromkeys(column for preset in presets for column in read_protocol(preset).columns()))
