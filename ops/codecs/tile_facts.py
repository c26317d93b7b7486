"""What an archive keeps of each tile: the time-step that was predicted for it, and how far its latents were off."""

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ops.rescalers.system import TileFact

EXTRA = "tiles"
"""Under this name among a payload's extras."""


class TileFacts(Struct, frozen=True, kw_only=True):
    """Facts of an image's tiles, row by row. `timesteps` and `errors` are little-endian float16: 4 bytes a tile in all.

    A time-step is what the network predicted; an error is the root mean square difference between the latents that the
    thumbnail gives back and the image's own, in units of the U-Net's latents (times 0.18215).
    """

    rows: int
    columns: int
    timesteps: bytes
    errors: bytes

    def timestep_map(self) -> NDArray[np.float32]:
        """Return predicted time-steps, (rows, columns)."""
        return self._plane(self.timesteps)

    def error_map(self) -> NDArray[np.float32]:
        """Return true errors of the latents, (rows, columns)."""
        return self._plane(self.errors)

    def _plane(self, content: bytes) -> NDArray[np.float32]:
        return np.frombuffer(content, "<f2").astype(np.float32).reshape(self.rows, self.columns)


def pack_facts(facts: "list[TileFact]") -> bytes:
    """Return facts of tiles, which are in the order of their rows, as an extra of a payload."""
    rows, columns = facts[-1].tile.row + 1, facts[-1].tile.column + 1
    packed = TileFacts(
        rows=rows,
        columns=columns,
        timesteps=np.array([fact.timestep for fact in facts], "<f2").tobytes(),
        errors=np.array([fact.error for fact in facts], "<f2").tobytes(),
    )
    return msgspec.msgpack.encode(packed)


def read_facts(extras: dict[str, bytes]) -> TileFacts | None:
    """Return the facts among a payload's extras, or nothing where its codec predicts no time-steps."""
    found = extras.get(EXTRA)
    return None if found is None else unpack_facts(found)


def unpack_facts(packed: bytes) -> TileFacts:
    """Return the facts that such an extra holds."""
    return msgspec.msgpack.decode(packed, type=TileFacts)
