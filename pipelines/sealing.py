"""Sealing: what is finished of a plan becomes packs, a catalog and a seal."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import pyarrow as pa

from clusters.session import ray_session
from ops.archive.layout import ArchiveError, Location, locate, read_document
from ops.archive.lease import driving
from ops.archive.packs import Pack, PackOrder
from ops.archive.plan import Plan
from ops.archive.seals import Seal, open_generation, seal_generation, sweep_leftovers, write_packs_here
from pipelines.events import Listener, Sealed, Sealing, nobody
from pipelines.packing import write_packs
from pipelines.planning import NothingToDo
from pipelines.requests import SealRequest

# A few packs are merged faster here than a cluster would be started.
PACKS_HERE = 4


def seal_archive(request: SealRequest, listen: Listener = nobody) -> Seal:
    """Seal what is finished. Raises Unfinished while chunks lack parts, NothingToDo where the highest seal has all."""
    location = locate(request.archive)
    if read_document(location) is None:
        raise ArchiveError(f"{request.archive} is no archive (it has no archive.json): check the path")
    with driving(location) as location:
        plan, seal = open_generation(location)
        if plan is None:
            if seal:
                sweep_leftovers(location, seal)
            raise NothingToDo(f"{location.url} is sealed already" if seal else f"{location.url} has no plan yet")
        return seal_plan(location, plan, request.address, listen)


def seal_plan(location: Location, plan: Plan, address: str | None, listen: Listener) -> Seal:
    """Seal a plan whose chunks all have their parts. Raises Unfinished where some have none."""

    def packs(ordered: Iterable[PackOrder]) -> Iterator[tuple[Pack, pa.Table]]:
        ordered = iter(ordered)
        first = list(islice(ordered, PACKS_HERE + 1))
        if len(first) <= PACKS_HERE:
            yield from write_packs_here(location, first)
            return
        with ray_session(address, accelerated=False) as budget:
            yield from write_packs(location, chain(first, ordered), budget)

    listen(Sealing())
    sealed = seal_generation(location, plan, packs)
    # Another driver may have sealed and swept while our last workers still put parts and marks.
    sweep_leftovers(location, sealed)
    listen(Sealed(sealed))
    return sealed
