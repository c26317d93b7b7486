"""Arguments and options that several commands share."""

from typing import Annotated, TypeAlias

import typer

ArchiveArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ARCHIVE", help="Folder or URL.")]
Match: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        # The backslashes are for rich, which would take a bracket for a style.
        help=r"Keys like this: * any run (also of /), ? one character, \[abc] one of these, \[\[] a bracket itself.",
    ),
]
Where: TypeAlias = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="Images like this: \"width > 4000 and format == 'JPEG'\".")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
JsonLines: TypeAlias = Annotated[bool, typer.Option("--json", help="A JSON document a line.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would read, write and take, and do nothing; see `estimate`.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", show_default="this machine", help="A Ray cluster, such as ray://head:10001."),
]

Score: TypeAlias = Annotated[
    bool, typer.Option("--score", help="Judge each thumbnail while its original is at hand; see `regrow evaluate`.")
]
ScoreProtocol: TypeAlias = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME|FILE", show_default="regrow", help="How --score takes scores."),
]
ScoreMetrics: TypeAlias = Annotated[
    str | None, typer.Option("--metrics", metavar="A,B,...", show_default="all", help="Only these columns of it.")
]

Weights: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        show_default="the archive's, or in the folder of weights",
        help="Weights of a learned codec: a file, a folder or a URL; may be repeated.",
    ),
]
AllowUntrained: TypeAlias = Annotated[
    bool, typer.Option("--allow-untrained", help="Take random weights, which regrow noise: to try things out.")
]

EVERY_DAY, MORE = "Every day", "More"


def example(line: str) -> str:
    """Return the last line of a command's help."""
    return f"Example:  {line}"
