"""The same two actors of one processor each, placed on one, two and four Ray nodes of one machine: what nodes cost."""

import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from bench.children import call
from bench.photographs import link_copies, make_photographs
from bench.report import Table, verdict

CODEC = "bicubic-x16"
NODES = (1, 2, 4)
# However many nodes they are divided among: two for the actors, and two of which fetches take one.
CPUS = 4
GOAL = 0.05
STORE_BYTES = 512 << 20
NODE_BYTES = 2 << 30


class Settings(Struct, frozen=True, kw_only=True):
    """`num_images` different photographs, each archived `copies` times; chunks close as `chunk_images` says.

    `nodes` are the numbers of Ray nodes, one of them 1, with which the others are compared.
    """

    num_images: int = 100
    copies: int = 4
    repeats: int = 5
    chunk_images: int = 8
    sizes: list[tuple[int, int]] | None = None
    folder: str | None = None
    nodes: tuple[int, ...] = NODES


QUICK = Settings(num_images=4, copies=4, repeats=1, chunk_images=2, sizes=[(1200, 1000)], nodes=(1, 4))


def measure(settings: Settings) -> list[Table]:
    """Archive on one, two and four nodes in turn, as often as settings say; return rates and how they spread."""
    with tempfile.TemporaryDirectory(prefix="regrow-bench-") as folder:
        scratch = Path(folder)
        photographs = Path(settings.folder) if settings.folder else scratch / "photographs"
        make_photographs(photographs, settings.num_images, *([settings.sizes] if settings.sizes else []))
        link_copies(photographs, scratch / "source", settings.num_images * settings.copies)
        runs: dict[int, list[dict[str, Any]]] = {nodes: [] for nodes in settings.nodes}
        for repeat in range(settings.repeats):
            # In turn, and each time another one first: what the machine does meanwhile falls on all alike.
            for at in range(len(settings.nodes)):
                nodes = settings.nodes[(repeat + at) % len(settings.nodes)]
                runs[nodes].append(_run(nodes, settings, scratch, f"{nodes}-{repeat}"))
    return [_table(runs, settings)]


def _run(nodes: int, settings: Settings, scratch: Path, name: str) -> dict[str, Any]:
    archive = scratch / name
    given = {"source": str(scratch / "source"), "archive": str(archive), "chunk_images": settings.chunk_images}
    call("throughput:make_plan", given)  # so that planning is no part of it
    # Ray's sockets lie below this folder, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="rn-", dir="/tmp", ignore_cleanup_errors=True) as ray_folder:
        return call("nodes:archive_on", {**given, "nodes": nodes}, environment={"RAY_TMPDIR": ray_folder})


def archive_on(source: str, archive: str, chunk_images: int, nodes: int) -> dict[str, Any]:
    """Archive on so many Ray nodes of this machine; return the rate at steady state and where actors were (a child)."""
    from bench.throughput import run_pipeline  # noqa: PLC0415
    from clusters.machine import Machine  # noqa: PLC0415
    from clusters.stages import PLANNED, Planned  # noqa: PLC0415

    # A budget follows from nodes: told that there are two of two processors, a driver always makes these two actors.
    planned = Planned(nodes=((Machine(cpus=2, memory_bytes=NODE_BYTES), 2),))
    os.environ[PLANNED] = json.dumps(msgspec.to_builtins(planned))
    begun = time.monotonic()
    with _cluster(nodes):
        started = time.monotonic() - begun
        found = run_pipeline(source, archive, chunk_images)
        placed = _places()
    return {**found, "start": started, "places": placed}


@contextmanager
def _cluster(number: int) -> Iterator[None]:
    """Have a Ray cluster of so many nodes, joined by this process, with CPUS processors between them."""
    from clusters.session import MALLOC, prepare_environment  # noqa: PLC0415

    prepare_environment(local=True)
    import ray  # noqa: PLC0415  the environment must stand before it is imported
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    cluster = Cluster()
    try:
        for _ in range(number):
            cluster.add_node(
                num_cpus=CPUS // number, memory=CPUS // number * NODE_BYTES, object_store_memory=STORE_BYTES,
                include_dashboard=False, dashboard_agent_listen_port=0,  # beside other heads: any that is free
            )  # fmt: skip
        # As a session of regrow's own sets its workers up.
        ray.init(cluster.address, runtime_env={"env_vars": MALLOC}, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def _places() -> list[int]:
    """Return how many actors each node with any had, as Ray's control store knows them."""
    from ray._private.state import actors  # noqa: PLC0415  without a dashboard there is no public way

    found = [actor["Address"]["NodeID"] for actor in actors().values() if "Map" in actor["ActorClassName"]]
    return sorted(found.count(node) for node in set(found))


def _table(runs: dict[int, list[dict[str, Any]]], settings: Settings) -> Table:
    rates = {nodes: [run["megapixels_per_second"] for run in found] for nodes, found in runs.items()}
    alone = median(rates[1])
    rows = []
    for nodes, found in rates.items():
        spread = (max(found) - min(found)) / median(found)
        places = " or ".join(sorted({"+".join(map(str, run["places"])) for run in runs[nodes]}))
        start, share = median(run["start"] for run in runs[nodes]), median(found) / alone
        rows.append([nodes, median(found), min(found), max(found), f"{spread:.1%}", f"{share:.1%}", places, start])
    worst = max(abs(median(found) / alone - 1) for found in rates.values())
    first = runs[1][0]
    return Table(
        title=f"Nodes, {CODEC}: two actors of one processor on one, two and four Ray nodes of one machine",
        columns=["nodes", "MP/s, median", "min", "max", "spread", "of one node's", "actors on nodes", "start s"],
        rows=rows,
        notes=[
            f"medians differ from one node's by at most {worst:.1%}; goal {GOAL:.0%}: {verdict(worst <= GOAL)}",
            f"{settings.repeats} runs each, in turn, each in fresh processes; {first['num_chunks']} chunks; steady "
            "state: from the first part on disk to the last but one",
            f"{CPUS} processors as Ray counts them in each case, two of them for actors; four fetches at once",
        ],
    )
