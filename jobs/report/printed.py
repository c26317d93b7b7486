"""Times, parameters and bytes that papers printed: other machines and other settings, for orientation alone."""

from jobs.papers import published_storage, published_times
from jobs.report.tables import Cell, Told
from jobs.report.words import number, numbered


def printed_times() -> Told:
    """Return seconds and millions of parameters as papers print them."""
    notes: list[str] = []
    rows = [
        [
            Cell(text=row.method),
            Cell(text=f"{row.paper}, {row.table}", small=_marks([row.setting, *row.flags], notes)),
            *(Cell(text=_figure(value)) for value in (row.down_seconds, row.up_seconds, row.seconds)),
            *(Cell(text=_figure(value)) for value in (row.parameters, row.trainable)),
        ]
        for row in published_times()
    ]
    headings = ["Method", "Printed in", "Down, s", "Up, s", "Total, s", "Parameters, M", "Trainable, M"]
    return Told(title="Times that papers printed", headings=headings, groups=[rows], notes=notes)


def printed_storage() -> Told:
    """Return what sets of images take as papers print it."""
    notes: list[str] = []
    rows = [
        [
            Cell(text=row.method),
            Cell(text=f"{row.paper}, {row.table}", small=_marks([row.setting, *row.flags], notes)),
            Cell(text=number(row.kilobytes, 2)),
            Cell(text=_figure(row.ratio)),
            Cell(text=_figure(row.lpips_vgg)),
        ]
        for row in published_storage()
    ]
    headings = ["Method", "Printed in", "kB", "Ratio", "LPIPS (VGG16)"]
    return Told(title="Bytes that papers printed", headings=headings, groups=[rows], notes=notes)


def _figure(value: float | None) -> str:
    return "not said" if value is None else f"{value:,.6g}"


def _marks(words: list[str], notes: list[str]) -> str:
    return f"see {', '.join(numbered(one, notes) for one in words)}"
