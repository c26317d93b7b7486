"""Runs benchmarks and prints their tables: `python -m bench [throughput memory ... seams] [--quick]`."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from msgspec.structs import fields, replace

from bench.report import Table, heading, machine, save

BENCHMARKS = ("throughput", "memory", "resume", "lookup", "scale", "judging", "codecs", "seams")
# Run only where they are named: they need what few machines have, or take long.
ON_REQUEST = ("codecs-gpu", "nano", "planning", "nodes")
_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "images": (int, "how many images (throughput, nodes: photographs; resume, lookup, scale, planning: keys)"),
    "copies": (int, "throughput, nodes: how often each photograph is archived"),
    "repeats": (int, "throughput: pairs of runs; nodes: runs of each"),
    "chunk_images": (int, "throughput, nodes: images at which a chunk closes"),
    "folder": (str, "throughput, nodes: keep the photographs here and use them again"),
    "metrics": (lambda text: tuple(text.split(",")), "judging: columns of protocol regrow, separated by commas"),
    "scratch": (str, "scale, planning, codecs, codecs-gpu: where its files lie while it runs"),
}


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    asked = _arguments()
    facts = machine()
    print(heading(facts), flush=True)
    for name in asked.benchmarks or BENCHMARKS:
        module = import_module(f"bench.{name.replace('-', '_')}")
        tables: list[Table] = module.measure(_settings(module, asked))
        for table in tables:
            print(table.markdown(), flush=True)
        save(f"{name}-quick" if asked.quick else name, facts, tables)


def _arguments() -> argparse.Namespace:
    known = (*BENCHMARKS, *ON_REQUEST)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does each benchmark run at all? (seconds)")
    for name, (kind, words) in _OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=words)
    asked = parser.parse_args()
    if unknown := set(asked.benchmarks) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return asked


def _settings(module: Any, asked: argparse.Namespace) -> Any:
    settings = module.QUICK if asked.quick else module.Settings()
    given = {"num_images" if name == "images" else name: getattr(asked, name) for name in _OPTIONS}
    known = {field.name for field in fields(settings)}
    return replace(settings, **{name: value for name, value in given.items() if value is not None and name in known})


if __name__ == "__main__":
    main()
