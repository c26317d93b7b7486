"""Rebuilds the 79 photographs that `nano` was trained on, from five packages of Debian 12."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import tell
from jobs.output import write_lines
from jobs.photographs.halving import stack
from jobs.photographs.listing import Listing, read_listing
from jobs.photographs.rebuilding import Rebuilt, rebuild
from jobs.words import count, size_words


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild as asked and return the exit status: 0 when each photograph is there and as recorded."""
    asked = _parser().parse_args(arguments)
    try:
        _run(read_listing(), asked.out, asked.debs)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        told = tell(error)
        if told is None:
            raise
        sys.stderr.write(f"photographs: {told.line}\n")
        return told.status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.photographs", description=__doc__)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the photographs and CREDITS.md")
    parser.add_argument(
        "--debs", metavar="FOLDER", type=Path,
        help="folder of the .deb files; without it, apt-get downloads them and they are removed afterwards",
    )  # fmt: skip
    return parser


def _run(listing: Listing, folder: Path, debs: Path | None) -> None:
    if debs is None:
        size = size_words(sum(package.bytes for package in listing.packages))
        write_lines([f"apt-get downloads {count(len(listing.packages), 'package')}, {size} ..."])
        sys.stdout.flush()
    write_lines(_summary(list(rebuild(listing, folder, debs)), folder))


def _summary(done: Sequence[Rebuilt], folder: Path) -> list[str]:
    per_package = Counter(str(rebuilt.package) for rebuilt in done)
    new, exact = sum(rebuilt.new for rebuilt in done), sum(rebuilt.exact for rebuilt in done)
    return [
        *(f"{package}: {count(number, 'photograph')}" for package, number in per_package.items()),
        f"{count(len(done), 'photograph')} in {folder}, {new} of them new. Halved, each has the recorded pixels.",
        f"Saved by {stack()}, {exact} are bit for bit the files that nano was trained on.",
    ]


if __name__ == "__main__":
    sys.exit(main())
