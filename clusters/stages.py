"""What each stage may take of a cluster that is described, with as many nodes as it has at least or at most."""

import json
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clusters.budget import (
    BYTES_PER_PIXEL,
    CHUNK_BYTES,
    RESERVE_BYTES,
    Budget,
    actors_on,
    budget_for_nodes,
    store_bytes,
)
from clusters.description import Cluster, NodeGroup
from clusters.machine import Machine

# The environment of a cluster's drivers: the nodes that they may count on, though they are not added yet.
PLANNED = "REGROW_NODES"
# Of one actor: two chunks that it works on and one that waits.
CHUNKS_IN_HAND = 3
# What an actor needs room for at least, beside its chunks.
LEAST_PIXELS = 32_000_000
Nodes = Literal["min", "max"]


class CannotFit(ValueError):
    """What is described cannot run the stages; the message says why, with numbers, in one line."""


class Share(Struct, frozen=True, kw_only=True):
    """What the nodes of one group do: actors on each at most, and processors that these leave on each for fetches."""

    group: str
    nodes: int
    actors: int
    free_cpus: float


class Staged(Struct, frozen=True, kw_only=True):
    """A budget for some number of nodes, and how it falls on the groups; `price_per_hour` is of all nodes, head too."""

    budget: Budget | None
    shares: tuple[Share, ...]
    price_per_hour: float


class Planned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that a cluster can have, each machine with how many of it; `threads` as for budget_for_nodes."""

    nodes: tuple[tuple[Machine, int], ...]
    threads: int | None = None


def staged(cluster: Cluster, nodes: Nodes = "max") -> Staged:
    """Return what each stage takes with the least or the most nodes; no budget where those hold none of its actors.

    Raises CannotFit where not even the most nodes run anything, or where what they would run locks up.
    """
    check_fits(cluster)
    groups = [group for group in cluster.workers if group.most]
    counts = {group.name: group.min if nodes == "min" else group.most for group in cluster.groups}
    machines = [group.machine for group in groups for _ in range(counts[group.name])]
    starts = any(machine.gpus for machine in machines) or not any(group.gpus for group in groups)
    budget = budget_for_nodes(machines, cluster.threads) if machines and starts else None
    shares = [_share(group, counts[group.name], budget) for group in groups]
    price = sum(group.price_per_hour * counts[group.name] for group in cluster.groups)
    return Staged(budget=budget, shares=tuple(shares), price_per_hour=price)


def check_fits(cluster: Cluster) -> None:
    """Raise CannotFit where a described cluster could not run an archive's stages, or would wait for ever."""
    groups = [group for group in cluster.workers if group.most]
    if not groups:
        raise CannotFit("no group takes work: the head does none, and no other group has nodes; write a group with max")
    hosts = [group for group in groups if group.gpus] or groups
    for group in hosts:
        _check_processors(group, cluster.threads)
        check_holds(group, cluster.threads)
    _check_total(cluster, groups)
    for group in groups:
        if group not in hosts:
            _check_fetching(group, 2 * sum(host.gpus * host.most for host in hosts))


def planned_text(cluster: Cluster) -> str:
    """Return the nodes that a cluster has at most, for the environment variable PLANNED of its drivers.

    A pool of actors has one size from start to end: made for the nodes that stand at the start, it would never ask an
    autoscaler for more.
    """
    nodes = tuple((group.machine, group.most) for group in cluster.workers if group.most)
    return json.dumps(msgspec.to_builtins(Planned(nodes=nodes, threads=cluster.threads)), separators=(",", ":"))


def budget_for_planned(text: str, *, accelerated: bool) -> Budget:
    """Return the budget of what PLANNED says. GPUs are left out where the work is not `accelerated`.

    Then their nodes are left out as well where there are others: nobody adds GPUs for work on processors.
    Raises ValueError for a text that is not of planned_text.
    """
    try:
        planned = msgspec.json.decode(text, type=Planned)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{PLANNED} cannot be read ({error}): unset it, or submit the job again") from error
    nodes = [machine for machine, count in planned.nodes for _ in range(count)]
    if not accelerated:
        plain = [node for node in nodes if not node.gpus]
        nodes = plain or [replace(node, gpus=0) for node in nodes]
        return budget_for_nodes(nodes)
    return budget_for_nodes(nodes, planned.threads)


def worker_bytes(budget: Budget) -> int:
    """Return what the pixels in an actor's hands may come to, a largest image among them."""
    return BYTES_PER_PIXEL * (budget.pixel_budget + budget.large_pixels)


def _share(group: NodeGroup, count: int, budget: Budget | None) -> Share:
    actors = actors_on(group.machine, budget) if budget and count else 0
    booked = actors * budget.actor_cpus if budget else 0.0
    return Share(group=group.name, nodes=count, actors=actors, free_cpus=group.cpus - booked)


def _check_processors(group: NodeGroup, threads: int | None) -> None:
    if group.gpus and group.cpus < group.gpus + 1:
        raise CannotFit(
            f"group {group.name} has {group.cpus} CPUs for {group.gpus} GPUs: each GPU wants one to decode for it, and "
            f"one stays free for fetches; that is {group.gpus + 1} or more"
        )
    actors = max(group.gpus, 1)
    if threads is not None and threads * actors > group.cpus:
        raise CannotFit(
            f"threads is {threads}, and a node of group {group.name} has {group.cpus} CPUs for "
            f"{'an actor' if actors == 1 else f'{actors} actors'}: write {group.cpus // actors} or fewer"
        )


def check_holds(
    group: NodeGroup, threads: int | None, *, weights_bytes: int = 0, pixels: int = 0, on_gpus: bool = True
) -> None:
    """Raise CannotFit where a node has too little memory for its actors, a codec's weights and a largest image.

    Weights are mapped, and images larger than the least take turns: either is there once. `on_gpus`: there is an actor
    for each GPU, where the node has any.
    """
    machine = group.machine if on_gpus else replace(group.machine, gpus=0)
    actors = machine.gpus or budget_for_nodes([machine], threads).num_actors
    least = CHUNKS_IN_HAND * CHUNK_BYTES + BYTES_PER_PIXEL * LEAST_PIXELS
    beyond = BYTES_PER_PIXEL * max(0, pixels - LEAST_PIXELS)
    needed = store_bytes(machine) + RESERVE_BYTES + actors * least + beyond + weights_bytes
    if needed > machine.memory_bytes:
        weights = f", {weights_bytes / 2**30:.1f} for weights" if weights_bytes else ""
        largest = f", {beyond / 2**30:.1f} more for an image of {pixels / 1e6:.0f} megapixels" if beyond else ""
        raise CannotFit(
            f"group {group.name} has {group.memory} a node, and needs {needed / 2**30:.1f} GiB: "
            f"{store_bytes(machine) / 2**30:.1f} for the object store, 1 for programs{weights}{largest}, and for each "
            f"of {actors} actors {CHUNKS_IN_HAND} chunks of 64 MiB and {LEAST_PIXELS // 10**6} megapixels of "
            f"{BYTES_PER_PIXEL} bytes"
        )


def _check_fetching(group: NodeGroup, num_fetches: int) -> None:
    """Raise CannotFit where a node without actors could not hold the chunks of the fetches that it may get."""
    machine = group.machine
    chunks = min(4 * group.cpus, num_fetches)
    needed = store_bytes(machine) + RESERVE_BYTES + chunks * CHUNK_BYTES
    if needed > machine.memory_bytes:
        raise CannotFit(
            f"group {group.name} has {group.memory} a node, and needs {needed / 2**30:.1f} GiB: "
            f"{store_bytes(machine) / 2**30:.1f} for the object store, 1 for programs, and 64 MiB for each of {chunks} "
            "chunks that its CPUs may fetch at once"
        )


def _check_total(cluster: Cluster, groups: Sequence[NodeGroup]) -> None:
    machines = [group.machine for group in groups for _ in range(group.most)]
    budget = budget_for_nodes(machines, cluster.threads)
    cpus = sum(machine.cpus for machine in machines)
    booked = budget.num_actors * budget.actor_cpus
    if cpus - booked < budget.fetch_cpus:
        raise CannotFit(
            f"{budget.num_actors} actors of {budget.actor_cpus:g} CPUs book all {cpus} of {len(machines)} nodes, "
            f"so that fetches, which take {budget.fetch_cpus:g}, would never start: add a node, or write fewer threads"
        )
    if not budget.actor_cpus and not budget.actor_gpus and not cluster.works_on_head:
        raise CannotFit(
            f"the only node that works, of group {groups[0].name}, has {cpus} CPUs, of which its actor can book none, "
            "so that Ray may put it on the head: write 3 CPUs or more, or max 2 or more"
        )
