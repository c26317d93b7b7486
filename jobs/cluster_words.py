"""A cluster in words: its groups, its price, and what each stage takes of it."""

from typing import Any

import msgspec

from clusters.budget import Budget, store_bytes
from clusters.description import Cluster, NodeGroup
from clusters.stages import Staged, worker_bytes
from jobs.words import count, megapixels

HEADINGS = ("GROUP", "NODES", "CPUS", "MEMORY", "GPUS", "PER HOUR", "DOES")
NUMBERS = (1, 2, 3, 4, 5)
LISTED = ("NAME", "ON", "NODES", "CPUS", "GPUS", "PER HOUR")


def listed_row(cluster: Cluster, most: Staged) -> tuple[str, ...]:
    """Return a cluster as a row below LISTED; numbers are those of the most nodes."""
    groups = cluster.groups
    return (
        cluster.name, cluster.provider, _range(sum(g.min for g in groups), sum(g.most for g in groups)),
        f"{sum(g.cpus * g.most for g in groups):,}", f"{sum(g.gpus * g.most for g in groups):,}",
        _price(cluster, most.price_per_hour),
    )  # fmt: skip


def group_row(cluster: Cluster, group: NodeGroup) -> tuple[str, ...]:
    """Return a group as a row below HEADINGS."""
    gpus = f"{group.gpus}{f' {group.accelerator}' if group.accelerator else ''}" if group.gpus else "0"
    return (
        group.name, _range(group.min, group.most), str(group.cpus), group.memory, gpus,
        _price(cluster, group.price_per_hour), _does(cluster, group),
    )  # fmt: skip


def facts_for(cluster: Cluster, least: Staged, most: Staged) -> list[tuple[str, str]]:
    """Return what runs with the least and with the most nodes, and what that costs."""
    if least == most:
        return _stages(cluster, most)
    first = [] if least.budget else [("  actors", "none: a run waits for the first node with a GPU")]
    return [
        ("at least", f"{_nodes(cluster, least)}, {_price(cluster, least.price_per_hour)} per hour"),
        *(_stages(cluster, least) if least.budget else first),
        ("at most", f"{_nodes(cluster, most)}, {_price(cluster, most.price_per_hour)} per hour"),
        *_stages(cluster, most),
    ]


def document_for(cluster: Cluster, least: Staged, most: Staged) -> dict[str, Any]:
    """Return the same for programs."""
    return {"cluster": msgspec.to_builtins(cluster), "min": _plain(least), "max": _plain(most)}


def _plain(found: Staged) -> dict[str, Any]:
    plain = msgspec.to_builtins(found)
    if found.budget:
        plain["budget"] |= {
            "worker_bytes": worker_bytes(found.budget),
            "pixels_in_flight": found.budget.num_actors * found.budget.pixel_budget,
        }
    return plain


def _stages(cluster: Cluster, found: Staged) -> list[tuple[str, str]]:
    budget = found.budget
    if budget is None:
        return []
    placed = ", ".join(f"{share.actors} on each of {count(share.nodes, 'node')} of {share.group}"
                       for share in found.shares if share.actors and share.nodes)  # fmt: skip
    stores = sorted({store_bytes(group.machine) for group in cluster.workers})
    return [
        ("  fetches", f"{budget.num_fetches:,} at once, each {budget.fetch_cpus:g} CPU"),
        ("  actors", f"{budget.num_actors:,} ({placed}), each {_booked(budget)} and {count(budget.threads, 'thread')}"),
        ("  memory", f"up to {_gib(worker_bytes(budget))} per worker, of which Ray books {_gib(budget.actor_memory)}"),
        ("  pixels", f"{megapixels(budget.pixel_budget)} in flight per worker, "
                     f"{megapixels(budget.num_actors * budget.pixel_budget)} in all; images beyond "
                     f"{megapixels(budget.large_pixels)} take turns on a node"),
        ("  object store", f"{' to '.join(_gib(size) for size in (stores[0], stores[-1])[: len(stores)])} per node"),
    ]  # fmt: skip


def _booked(budget: Budget) -> str:
    if budget.actor_gpus:
        return f"{budget.actor_gpus:g} GPU"
    return f"{budget.actor_cpus:g} CPUs" if budget.actor_cpus else "no CPU booked"


def _does(cluster: Cluster, group: NodeGroup) -> str:
    if group.name == cluster.head and not cluster.works_on_head:
        return "head: drivers of jobs"
    gpus = any(one.gpus for one in cluster.workers)
    does = "fetches and actors" if group.gpus or not gpus else "fetches, sealing, codecs without networks"
    return does + ", head" * (group.name == cluster.head) + ", spot" * group.spot


def _nodes(cluster: Cluster, found: Staged) -> str:
    of_group = [f"{share.nodes} {share.group}" for share in found.shares]
    return " + ".join(of_group if cluster.works_on_head else [f"1 {cluster.head}", *of_group])


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least}-{most}"


def _price(cluster: Cluster, price: float) -> str:
    return f"{price:,.2f} {cluster.currency}" if price else "-"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
