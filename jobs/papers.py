"""What papers printed: rows of their tables under our columns, with what is known to be wrong with them."""

from functools import cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from jobs.datasets import parse_dataset
from jobs.paper_files import Block, Paper, Table, flags_of, read_paper

FOLDER = Path(__file__).parent / "published"


class PublishedRow(Struct, frozen=True, kw_only=True):
    """One method's scores as a paper prints them, by our columns.

    `protocol` is the preset under which ours may stand beside them, or "unknown"; `split` is empty where which images
    were taken is not known; `unsure` says of a column why it may be another; `flags` are errors and contradictions.
    """

    paper: str
    table: str
    source: str
    dataset: str
    split: str
    method: str
    scale: int
    scores: dict[str, float]
    protocol: str
    unsure: dict[str, str] = {}
    flags: list[str] = []


class PublishedTime(Struct, frozen=True, kw_only=True):
    """Seconds per image and millions of parameters as a paper prints them; None where it says nothing."""

    paper: str
    table: str
    source: str
    setting: str
    method: str
    down_seconds: float | None
    up_seconds: float | None
    total_seconds: float | None
    parameters: float | None
    trainable: float | None
    flags: list[str] = []

    @property
    def seconds(self) -> float | None:
        """The total as printed, or the sum of down and up; None where neither is known."""
        if self.total_seconds is not None or self.down_seconds is None or self.up_seconds is None:
            return self.total_seconds
        return self.down_seconds + self.up_seconds


class PublishedStorage(Struct, frozen=True, kw_only=True):
    """What a set of images takes, in kilobytes as a paper prints them, and how often that goes into the originals."""

    paper: str
    table: str
    source: str
    setting: str
    method: str
    kilobytes: float
    ratio: float | None
    lpips_vgg: float | None
    flags: list[str] = []


def published(dataset: str, scale: int) -> list[PublishedRow]:
    """Return the rows for a data set, spelled `div2k` or `div2k:valid`, at 16 or 32. Raises UsageError.

    With a split, rows of other splits are left out; those that do not say their split are not, and are flagged.
    """
    name, split = parse_dataset(dataset)
    split = split if ":" in dataset else ""
    return [
        row
        for row in _rows()
        if row.dataset == name and row.scale == scale and (not split or not row.split or row.split == split)
    ]


def published_times() -> list[PublishedTime]:
    """Return the rows of the papers' tables of times and parameters."""
    return [
        PublishedTime(
            paper=paper.paper,
            table=table.table,
            source=table.source,
            setting=table.setting,
            flags=flags_of(table.flags, row.method),
            **asdict(row),
        )
        for paper in _papers()
        for table in paper.times
        for row in table.rows
    ]


def published_storage() -> list[PublishedStorage]:
    """Return the rows of the papers' tables of bytes against JPEG."""
    return [
        PublishedStorage(
            paper=paper.paper,
            table=table.table,
            source=table.source,
            setting=table.setting,
            flags=flags_of(table.flags, row.method),
            **asdict(row),
        )
        for paper in _papers()
        for table in paper.storage
        for row in table.rows
    ]


@cache
def _papers() -> list[Paper]:
    return [read_paper(path.read_bytes(), path.name) for path in sorted(FOLDER.glob("*.yaml"))]


@cache
def _rows() -> list[PublishedRow]:
    return [
        row
        for paper in _papers()
        for table in paper.tables
        for block in table.blocks
        for row in _of(block, table, paper)
    ]


def _of(block: Block, table: Table, paper: Paper) -> list[PublishedRow]:
    return [
        PublishedRow(
            paper=paper.paper,
            table=table.table,
            source=table.source,
            dataset=block.dataset,
            split=block.split,
            method=method,
            scale=block.scale,
            scores={
                column: number for column, number in zip(table.columns, numbers, strict=True) if number is not None
            },
            protocol=paper.protocol,
            unsure={column: why for column, why in paper.unsure.items() if column in table.columns},
            flags=flags_of([*table.flags, *paper.flags], method, block.dataset, block.scale),
        )
        for method, numbers in block.rows.items()
    ]
