"""A store that would overwrite: while a driver holds the lease of an archive, looking first is enough."""

import errno
import threading
from typing import Any, cast

from ops.stores.base import Store, StoreError, is_there


class LeasedStore:
    """Another store, whose `put_new` looks before it puts; `lost` is set when the lease has gone to another driver."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.lost = threading.Event()

    @classmethod
    def over(cls, inner: Store) -> Store:
        """Return such a store as a Store: everything but `put_new` is the other one's."""
        return cast("Store", cls(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put_new(self, url: str, content: bytes) -> bool:
        if self.lost.is_set():
            raise StoreError(
                errno.ESTALE, f"{url} was not written: another driver has taken the archive over; run this again", url
            )
        return not is_there(self._inner, url) and self._inner.put_new(url, content)
