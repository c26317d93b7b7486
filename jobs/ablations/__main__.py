"""Trains the papers' ablations at the size of `nano`, one by one, and writes a table of what they come to."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.ablations.table import table
from jobs.cli import run
from jobs.output import write_lines

HERE = Path(__file__).parent
# The job files name it: all begin with what the first of them has trained.
RUNS, PRIOR = Path("runs/ablations"), "prior"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as asked and return the exit status: that of the first run that did not end well, else 0."""
    asked = _parser().parse_args(arguments)
    for name in [] if asked.only_table else names():
        how = ["--device", asked.device, "--workers", str(asked.workers)]
        how += ["--threads", str(asked.threads)] if asked.threads else []
        write_lines([f"== {name}"])
        status = run(["train", str(HERE / f"{name}.yaml"), "--out", str(RUNS / name), *how])
        if status:
            return status
    write_lines(table(RUNS, {name: described(name) for name in names() if name != PRIOR}))
    return 0


def names() -> list[str]:
    """Return the names of the job files, in the order in which they can be trained."""
    return [PRIOR, *sorted(path.stem for path in HERE.glob("*.yaml") if path.stem != PRIOR)]


def described(name: str) -> str:
    """Return what an ablation is: the first line of its job file."""
    return (HERE / f"{name}.yaml").read_text("utf-8").partition("\n")[0].removeprefix("# ").removesuffix(".")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.ablations",
        description=f"{__doc__} Reads the folder `photographs` (`python -m jobs.photographs photographs`), writes "
        f"{RUNS}. Run again, it goes on where it stopped.",
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="train with N workers under Ray")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of each worker")
    parser.add_argument("--only-table", action="store_true", help="train nothing: write the table of what is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
