"""Stores that fail as real ones do: one that dies at a chosen request, one that overwrites what it should create."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from ops.stores.other import OBJECT_STORES


class PowerCut(Exception):
    """The machine is gone: nothing after this happens."""


class CutStore(MemoryFileSystem):
    """A store in memory that dies before or after its n-th change. `changes` counts them."""

    protocol = "cut"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    changes = 0
    dies_at: ClassVar[tuple[int, str] | None] = None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        with self._change():
            super().pipe_file(path, value, mode=mode, **options)

    def rm_file(self, path: str) -> None:
        with self._change():
            super().rm_file(path)

    @staticmethod
    @contextmanager
    def _change() -> Iterator[None]:
        if CutStore.dies_at == (CutStore.changes, "before"):
            raise PowerCut
        yield
        CutStore.changes += 1
        if CutStore.dies_at == (CutStore.changes - 1, "after"):
            raise PowerCut


class CarelessStore(MemoryFileSystem):
    """A store that overwrites whatever it is asked to create."""

    protocol = "careless"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        del mode
        super().pipe_file(path, value, mode="overwrite", **options)


# Stores of objects, as far as archives are concerned.
OBJECT_STORES.extend(store.protocol for store in (CutStore, CarelessStore))
# By name, so that they count among the protocols that fsspec knows.
for _store in (CutStore, CarelessStore):
    fsspec.register_implementation(_store.protocol, f"tests.failing_stores.{_store.__name__}", clobber=True)
