"""Shards that cannot be indexed to their end."""

from collections.abc import Sequence


class BrokenShard(Exception):
    """A shard holds images that its reader could not list; raised after all that it could. The message says which."""


def in_short(places: Sequence[str]) -> str:
    """Return the first few of a list in words."""
    shown = ", ".join(places[:5])
    return f"{shown} and {len(places) - 5} more" if len(places) > 5 else shown
