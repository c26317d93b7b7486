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
    return _divided(num_actors, threads, (actor_cpus, actor_gpus), store_bytes(machine), _spare(machine) // num_actors)


def budget_for_nodes(nodes: Sequence[Machine], threads: int | None = None) -> Budget:
    """Divide a cluster: actors that the smallest node of those that take any can hold, as many as all of them hold.

    Where there are GPUs, actors are on their nodes alone. `threads` is for who knows better how many an actor needs; it
    is not checked here. Raises ValueError where no node has a processor to give.
    """
    usable = [node for node in nodes if node.cpus >= 1]
    hosts = [node for node in usable if node.gpus] or usable
    if not hosts:
        raise ValueError(f"none of {len(nodes)} nodes has a processor to give: add nodes, or wait for them")
    if len(usable) == 1 and threads is None:
        return budget_for(usable[0])
    if hosts[0].gpus:
        return _on_gpus(hosts, threads)
    return _on_processors(hosts, threads)


def _on_gpus(hosts: Sequence[Machine], threads: int | None) -> Budget:
    """Return a budget with an actor for each GPU, none of which takes more than the poorest node has for one."""
    threads = threads or min(max(1, (node.cpus - 1) // node.gpus) for node in hosts)
    share = min(_spare(node) // node.gpus for node in hosts)
    store = min(store_bytes(node) for node in hosts)
    return _divided(sum(node.gpus for node in hosts), threads, (0.0, 1.0), store, share)


def _on_processors(hosts: Sequence[Machine], threads: int | None) -> Budget:
    """Return a budget with as many actors as processors and memory of the nodes hold.

    Processors are booked in any case: Ray would heap actors that book nothing onto one node.
    """
    cpus, memory = min(node.cpus for node in hosts), min(node.memory_bytes for node in hosts)
    smallest = Machine(cpus=cpus, memory_bytes=memory)
    one = budget_for(smallest)
    if threads is not None:
        fitting = max(1, (cpus - 1) // threads)
        one = _divided(fitting, threads, (0.0, 0.0), store_bytes(smallest), _spare(smallest) // fitting)
    threads = threads or max(1, min(one.threads, cpus - 1))
    share = _spare(smallest) // one.num_actors
    num_actors = sum(_held(node, threads, share) for node in hosts)
    if cpus == 1:
        num_actors = max(1, num_actors - 1)  # one node is left to the fetches
    return replace(one, num_actors=num_actors, num_fetches=2 * num_actors, threads=threads, actor_cpus=float(threads))


def actors_on(machine: Machine, budget: Budget) -> int:
    """Return how many actors of a budget a machine of its cluster holds."""
    if budget.actor_gpus:
        return machine.gpus
    return _held(machine, budget.threads, 2 * budget.actor_memory) if budget.actor_cpus else budget.num_actors


def _held(machine: Machine, threads: int, share: int) -> int:
    """Return how many actors of so many processors and bytes a machine holds, one processor left free if it can be."""
    return min(max(1, (machine.cpus - 1) // threads), max(1, _spare(machine) // share))


def store_bytes(machine: Machine) -> int:
    """Return the size of a node's object store: an eighth of its memory, from 512 MiB to 4 GiB."""
    return int(min(max(machine.memory_bytes // 8, 512 << 20), 4 << 30))


def _spare(machine: Machine) -> int:
    """Return the bytes of a node that its actors share."""
    return max(machine.memory_bytes - store_bytes(machine) - RESERVE_BYTES, RESERVE_BYTES) * 8 // 10


def _divided(num_actors: int, threads: int, booked: tuple[float, float], store: int, share: int) -> Budget:
    """Return a budget of actors that book these processors and GPUs, and have a `share` of bytes each."""
    pixel_budget = min(64_000_000 * threads // 2 + 1, share // BYTES_PER_PIXEL // 2)
    return Budget(
        num_actors=num_actors,
        actor_cpus=booked[0],
        actor_gpus=booked[1],
        threads=threads,
        num_fetches=2 * num_actors,
        fetch_cpus=0.25,
        pixel_budget=pixel_budget,
        # Where memory holds a budget and such an image for each actor, none of them need take turns.
        large_pixels=max(share // BYTES_PER_PIXEL - pixel_budget, pixel_budget),
        store_bytes=store,
        # Booked, not measured: it keeps Ray from placing two actors where one fits.
        actor_memory=share // 2,
    )
