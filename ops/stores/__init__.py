"""Where bytes lie: one small face over local folders, S3 and whatever else fsspec reaches."""

from ops.stores.base import Changed, Store, Stored, StoreError, is_there, join
from ops.stores.routing import absolute, child_of, open_leased, open_store

__all__ = [
    "Changed",
    "Store",
    "StoreError",
    "Stored",
    "absolute",
    "child_of",
    "is_there",
    "join",
    "open_leased",
    "open_store",
]
