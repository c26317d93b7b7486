"""The contract of a codec: pixels to a payload that can be kept, and back."""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from ops.images import Failure, FailureCode, ImageError, Pixels

# How torch tells of an accelerator that answers no more, or that never did.
_DEVICE_ERRORS = (
    "CUDA error", "CUDA driver", "HIP error", "device-side assert",
    "CUDNN_STATUS_INTERNAL_ERROR", "CUDNN_STATUS_EXECUTION_FAILED",
)  # fmt: skip
# How torch, and the system, tell of too little memory; of a processor's torch itself has no error of its own.
_NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory")


class Box(NamedTuple):
    """A region of an image in pixels; left and top are inside, right and bottom are not."""

    left: int
    top: int
    right: int
    bottom: int


class Payload(Struct, frozen=True):
    """What a codec keeps of one image. `width` and `height` are those of the original, in pixels."""

    thumbnail: bytes
    media_type: str
    width: int
    height: int
    extras: dict[str, bytes] = {}


class Runtime(Struct, frozen=True, kw_only=True):
    """How fast and with how much a codec may run. Never changes a byte of what it makes.

    `pixel_budget` is what a worker may have in hand, but for one image that is larger; beyond `large_pixels` that one
    needs the machine for itself. `weights` are files, folders or URLs in which a learned codec looks for its tensors
    before it looks into the folder of weights; which ones it takes, its config says by their digest.
    """

    device: str = "cpu"
    pixel_budget: int = 64_000_000
    large_pixels: int = 1 << 62
    threads: int = 1
    weights: tuple[str, ...] = ()


class Pace(NamedTuple):
    """Seconds that one core of a processor takes at most for a megapixel, down and up; an upper figure, to wait by."""

    down: float = 0.0
    up: float = 0.0


def refusal(error: Exception, what: str = "encode") -> Failure:
    """Return the failure of the one image over which a codec raised: whatever its libraries raise ends no run."""
    if isinstance(error, ImageError):
        return error.failure
    said = " ".join(str(error).split())
    if is_out_of_memory(error):
        return Failure(FailureCode.OUT_OF_MEMORY, f"no memory to {what} it ({said or 'MemoryError'}); retry with more")
    return Failure(FailureCode.REFUSED, f"the codec failed with {type(error).__name__}: {said}; use another codec")


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error is for want of memory, an accelerator's or the machine's."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def is_broken_device(error: Exception) -> bool:
    """Say whether an error is a device's, and no image's: whatever came after it would fail, too."""
    return not is_out_of_memory(error) and any(name in str(error) for name in _DEVICE_ERRORS)


class Codec(Protocol):
    """Grows images from payloads. `decode` returns images of exactly the payload's width and height.

    `concurrent` says that `encode` and `decode` may be called from several threads at once, one image each, as suits
    codecs that run on the processor; others are called by one thread at a time, and batch as they see fit.
    """

    generative: bool
    concurrent: bool

    def encode(self, images: Sequence[Pixels]) -> list[Payload | Failure]: ...

    def decode(self, payloads: Sequence[Payload]) -> list[Pixels]: ...

    def decode_region(self, payload: Payload, box: Box) -> Pixels:
        """Return the same pixels as the crop `box` of `decode`."""
        ...


class CodecConfig(Struct, tag_field="name", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a codec; every field changes bytes. A default, once released, never changes.

    What stands at its default is left out of the digest, so that a field that is added later leaves old ones alone.
    """

    generative: ClassVar[bool] = False
    # Columns of the metrics that the codec was trained on: they flatter it, and a report says so.
    trained_on: ClassVar[tuple[str, ...]] = ()
    # Settings under a name, which a job file asks for with `preset: NAME`.
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @property
    def name(self) -> str:
        """The codec's name without its numbers, such as `bicubic`."""
        return str(self.__struct_config__.tag)

    @property
    def seconds_per_megapixel(self) -> Pace:
        """How slow the codec may be beyond what every image is given, so that its workers are not taken for stuck."""
        return Pace()

    @property
    def factor(self) -> int:
        """By how much each side shrinks."""
        raise NotImplementedError(f"{type(self).__name__} must say its factor")

    def spelling(self) -> str:
        """Return the name as users type it, such as `bicubic-x16`."""
        raise NotImplementedError(f"{type(self).__name__} must say how it is spelled")

    def weights_digest(self) -> str:
        """Return the digest of the tensors that run, or nothing for a codec without weights."""
        return ""

    def settings(self) -> dict[str, Any]:
        """Return the name and every field that is not at its default, as an archive records them.

        Fields are compared by value: msgspec's own `omit_defaults` goes by identity, which pickling loses.
        """
        fields = msgspec.structs.fields(self)
        at_default = {field.encode_name for field in fields if getattr(self, field.name) == field.default}
        return {name: value for name, value in msgspec.to_builtins(self).items() if name not in at_default}

    def digest(self) -> str:
        """Return the sha256, in hex, of everything that decides which bytes come out."""
        canonical = msgspec.json.encode({**self.settings(), "weights": self.weights_digest()}, order="sorted")
        return hashlib.sha256(canonical).hexdigest()

    def load(self, runtime: Runtime) -> Codec:
        """Build the codec. The only factory."""
        raise NotImplementedError(f"{type(self).__name__} must say how it is loaded on {runtime.device}")
