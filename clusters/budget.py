"""How many actors, threads and bytes each stage may take of a machine or cluster."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from clusters.machine import Machine

# More threads in one actor wait for one another's Python; more actors cost 100 MB each.
ACTOR_THREADS = 4
# A chunk is at most 64 MiB encoded, and each stage holds a few of them: running, waiting, and in the store.
CHUNK_BYTES = 64 << 20
BYTES_PER_PIXEL = 12
RESERVE_BYTES = 1 << 30


class Budget(Struct, frozen=True, kw_only=True):
    """What the stages of one pipeline take. Decides speed, never bytes.

    `actor_cpus` is what Ray books for an actor: 0 where it must not be refused (one or two processors, or a GPU that is
    booked instead). `fetch_cpus` differs from it, or Ray would fuse the two stages into one.
    """

    num_actors: int
    actor_cpus: float
    actor_gpus: float
    threads: int
    num_fetches: int
    fetch_cpus: float
    pixel_budget: int
    large_pixels: int
    store_bytes: int
    actor_memory: int


def budget_for(machine: Machine) -> Budget:
    """Divide a machine: one actor per GPU, or actors of about four threads with one processor left free."""
    store_bytes = int(min(max(machine.memory_bytes // 8, 512 << 20), 4 << 30))
    if machine.gpus:
        num_actors, threads = machine.gpus, max(1, (machine.cpus - 1) // machine.gpus)
        actor_cpus, actor_gpus = 0.0, 1.0
    elif machine.cpus <= 2:
        # With a processor booked for the actor the fetches would never start.
        num_actors, threads, actor_cpus, actor_gpus = 1, machine.cpus, 0.0, 0.0
    else:
        num_actors = max(1, (machine.cpus - 1) // ACTOR_THREADS)
        threads = (machine.cpus - 1) // num_actors
        actor_cpus, actor_gpus = float(threads), 0.0
    memory = max(machine.memory_bytes - store_bytes - RESERVE_BYTES, RESERVE_BYTES) * 8 // 10
    pixel_budget = min(64_000_000 * threads // 2 + 1, memory // num_actors // BYTES_PER_PIXEL // 2)
    return Budget(
        num_actors=num_actors,
        actor_cpus=actor_cpus,
        actor_gpus=actor_gpus,
        threads=threads,
        num_fetches=2 * num_actors,
        fetch_cpus=0.25,
        pixel_budget=pixel_budget,
        # Where memory holds a budget and such an image for each actor, none of them need take turns.
        large_pixels=max(memory // num_actors // BYTES_PER_PIXEL - pixel_budget, pixel_budget),
        store_bytes=store_bytes,
        # Booked, not measured: it keeps Ray from placing two actors where one fits.
        actor_memory=memory // num_actors // 2,
    )


def budget_for_nodes(nodes: Sequence[Machine]) -> Budget:
    """Divide a cluster: actors that the smallest node of those that take any can hold, as many as all of them hold.

    Where there are GPUs, actors are on their nodes alone. Raises ValueError where no node has a processor to give.
    """
    usable = [node for node in nodes if node.cpus >= 1]
    hosts = [node for node in usable if node.gpus] or usable
    if not hosts:
        raise ValueError(f"none of {len(nodes)} nodes has a processor to give: add nodes, or wait for them")
    if len(usable) == 1:
        return budget_for(usable[0])
    gpus = min(node.gpus for node in hosts)
    cpus, memory = min(node.cpus for node in hosts), min(node.memory_bytes for node in hosts)
    one = budget_for(Machine(cpus=cpus, gpus=gpus, memory_bytes=memory))
    if gpus:
        num_actors = sum(node.gpus for node in hosts)
        return replace(one, num_actors=num_actors, num_fetches=2 * num_actors)
    # Booked in any case: Ray would heap actors that book nothing onto one node.
    threads = max(1, min(one.threads, cpus - 1))
    num_actors = sum(max(1, (node.cpus - 1) // threads) for node in hosts)
    if cpus == 1:
        num_actors = max(1, num_actors - 1)  # one node is left to the fetches
    return replace(one, num_actors=num_actors, num_fetches=2 * num_actors, threads=threads, actor_cpus=float(threads))
