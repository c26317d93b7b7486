"""The header of a safetensors file: which tensors it holds, read without them, and whether the file is whole."""

import json
import math
from typing import Any

from msgspec import Struct

from ops.stores import open_store
from ops.weights.files import WeightsError

# The bound that the format itself sets.
LONGEST_HEADER = 100_000_000


class Header(Struct, frozen=True, kw_only=True):
    """What a file says of itself: the shape and dtype (`F32`, `BF16`, ...) of each tensor, and text by name."""

    url: str
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]
    size_bytes: int

    @property
    def numbers(self) -> int:
        """How many numbers there are in all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def header_of(url: str) -> Header:
    """Return the header of a file in any store; its tensors are not read.

    Raises WeightsError where there is no file, where it is no safetensors file, and where it is not whole.
    """
    size = read_from(url, lambda: open_store(url).stat(url).size)
    length = int.from_bytes(_read(url, 0, 8), "little")
    # A JSON object, as the format has it: a page of HTML or a zip fails here.
    if size < 10 or length > LONGEST_HEADER or _read(url, 8, 9) != b"{":
        raise WeightsError(f"{url} is not a safetensors file; name one, or convert it with `regrow weights convert`")
    if 8 + length > size:
        raise WeightsError(f"{url} is truncated: its header has {length} bytes, the file {size}; get it anew")
    try:
        return _decoded(url, json.loads(_read(url, 8, 8 + length)), size - 8 - length, size)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{url} has no readable safetensors header ({error}); get it anew") from error


def read_from(url: str, reading: Any) -> Any:
    """Return what reading from a store gives. Raises WeightsError with the URL and the remedy whatever it raises."""
    try:
        return reading()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(f"{url}: no such file; name a file of weights") from error
    except IsADirectoryError as error:
        raise WeightsError(f"{url} is a folder; name a file in it") from error
    except Exception as error:  # fsspec lets through whatever its clients raise, of any type
        said = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{url} cannot be read ({said}); get it elsewhere") from error


def _read(url: str, start: int, end: int) -> bytes:
    return read_from(url, lambda: open_store(url).read(url, start, end))


def _decoded(url: str, entries: dict[str, Any], room: int, size: int) -> Header:
    metadata = entries.pop("__metadata__", {})
    for name, entry in entries.items():
        if entry["data_offsets"][1] > room:
            missing = entry["data_offsets"][1] - room
            raise WeightsError(f"{url} is truncated: the tensor {name} lacks {missing} bytes or more; get it anew")
    return Header(
        url=url,
        shapes={name: tuple(int(side) for side in entry["shape"]) for name, entry in entries.items()},
        dtypes={name: str(entry["dtype"]) for name, entry in entries.items()},
        metadata={str(name): str(text) for name, text in metadata.items()},
        size_bytes=size,
    )
