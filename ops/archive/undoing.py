"""An archive that a run has begun, taken back before anything is archived."""

from collections.abc import Collection

from ops.archive.layout import Location
from ops.archive.plan import Plan


def take_back(location: Location, plan: Plan, also: Collection[str] = ()) -> bool:
    """Remove an archive that this run has made, where it holds no more than its beginnings; say whether it did.

    Those are archive.json, the escrow, the plan, and the objects `also`. What anything else means is not for this run
    to say, so then all stays: work of another driver, or what a user has put there.
    """
    document, store = location.at("archive.json"), location.store
    named = {location.plan(plan.generation, file.name) for file in [*plan.files, plan.index]}
    named |= {document, location.plan(plan.generation), *also}

    def is_ours(url: str) -> bool:
        return url in named or url.startswith(f"{location.at('codec')}/")

    # Of a driver's lease, which it gives back itself, and of one that looks what the store can do.
    passing = (location.at("lease.json"), location.at("attempts", "probe-"))
    found = [stored.url for stored in store.walk(location.url) if not stored.url.startswith(passing)]
    if not all(is_ours(url) for url in found):
        return False
    # The document last: what is cut off here can be archived into, and another driver finds an archive meanwhile.
    store.remove([*(url for url in found if url != document), document])
    store.tidy(location.url)
    return True
