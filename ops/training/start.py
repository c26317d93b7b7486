"""A run made ready: networks with the weights that they begin with, photographs frozen, a digest of both."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import msgspec
import torch

from ops.codecs.latent import LatentConfig
from ops.codecs.learned import LearnedConfig, MisfitWeights
from ops.codecs.names import codec_from
from ops.networks.strict import misfit
from ops.rescalers.loading import placed
from ops.rescalers.system import System
from ops.training import checkpoints
from ops.training.errors import TrainingError
from ops.training.photographs import FrozenPhotographs, check_frozen_for, freeze
from ops.training.run import CHECKPOINTS, Place, Progress, Run
from ops.training.settings import TrainingSettings
from ops.training.start_parts import load_parts, parts_digests
from ops.weights import codec_files

JOB, PHOTOGRAPHS = "job.json", "photographs.json"

Validated: TypeAlias = Callable[[System, FrozenPhotographs], Callable[[int, int], dict[str, float]]]


def prepared(
    folder: Path,
    settings: TrainingSettings,
    place: Place,
    *,
    told: Callable[[Progress], None] = lambda _: None,
    validated: Validated | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Run:
    """Return the run of a folder, which is made if it is not there; what it froze before stays frozen.

    `validated` is given the system and the photographs, and returns what `Run.validated` is. Raises TrainingError where
    the folder holds a run of other settings.
    """
    photographs, digests = make_ready(folder, settings) if place.rank == 0 else _ready(folder, settings)
    system = first_system(settings, place.device)
    return Run(
        folder=folder,
        settings=settings,
        system=system,
        photographs=photographs,
        digests=digests,
        place=place,
        told=told,
        validated=validated(system, photographs) if validated is not None else (lambda *_: {}),
        stopping=stopping,
    )


def make_ready(folder: Path, settings: TrainingSettings) -> tuple[FrozenPhotographs, tuple[str, ...]]:
    """Freeze the photographs of a run's folder, keep its settings, and return the former and digests of both by stage.

    Whatever workers share the folder must wait for the first one to do it. Raises TrainingError where the folder holds
    a run of other settings.
    """
    photographs, digests = _ready(folder, settings)
    if (found := checkpoints.newest(folder / CHECKPOINTS)) is not None:
        checkpoints.check(found, digests)
    _keep_settings(folder, settings)
    return photographs, digests


def trained_config(settings: TrainingSettings) -> LatentConfig:
    """Return the codec that is trained. Raises TrainingError for one that has no networks in latents."""
    config = codec_from(settings.codec)
    if not isinstance(config, LatentConfig):
        raise TrainingError(f"codec {config.spelling()} has nothing to train: use nano, tadm, osirdiff or faitheir")
    return config


def first_system(settings: TrainingSettings, device: str) -> System:
    """Return the networks in float32, as the seed, the file to start from and parts give them, the last above all."""
    config = msgspec.structs.replace(trained_config(settings), precision="float32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        system = config.network()
    if settings.start_from is not None:
        _load_into(system, config, settings.start_from)
    load_parts(system, config, settings.start_parts)
    system = placed(system, device)
    return system.train()


def export(run: Run, url: str, origins: dict[str, str]) -> codec_files.CodecWeights:
    """Write the system's weights in 16 bits, as the codec loads them, and return what the file says of itself.

    They are what runs: a codec computes in its own precision with these very numbers.
    """
    config = cast("LearnedConfig", trained_config(run.settings))
    tensors = {
        name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in run.system.state_dict().items()
    }
    return codec_files.write(
        url,
        tensors,
        settings=config.network_settings(),
        trained=True,
        licence=run.settings.licence,
        redistribution=run.settings.redistribution,
        origins=origins,
    )


def _load_into(system: System, config: LatentConfig, url: str) -> None:
    found = codec_files.read_header(url)
    try:
        config.check_made_for(found.settings)
    except MisfitWeights as why:
        raise TrainingError(f"{url} does not fit {config.spelling()}: {why}") from why
    tensors = codec_files.load(found)
    if wrong := misfit(system, tensors):
        raise TrainingError(f"{url} does not fit {config.spelling()}: {wrong}; start from another file")
    system.load_state_dict(tensors)


def _ready(folder: Path, settings: TrainingSettings) -> tuple[FrozenPhotographs, tuple[str, ...]]:
    photographs = _frozen(folder, settings)
    return photographs, _digests(settings, photographs)


def _frozen(folder: Path, settings: TrainingSettings) -> FrozenPhotographs:
    """Return the photographs that the run froze when it began, or freeze them now."""
    path = folder / PHOTOGRAPHS
    if path.exists():
        frozen = FrozenPhotographs.load(path)
        check_frozen_for(frozen, settings.photographs, path)
        return frozen
    frozen = freeze(settings.photographs, max(stage.crop.side for stage in settings.stages))
    folder.mkdir(parents=True, exist_ok=True)
    frozen.save(path)
    return frozen


def _digests(settings: TrainingSettings, photographs: FrozenPhotographs) -> tuple[str, ...]:
    """Return, for each stage, the sha256 of what decides bits up to its end: settings, but for places, photographs."""
    said = msgspec.to_builtins(settings)
    deciding = {name: said[name] for name in ("codec", "stages", "start_from", "seed")}
    if settings.start_from is not None:  # what is in the file, wherever it lies
        deciding["start_from"] = codec_files.read_header(settings.start_from).digest
    if settings.start_parts:  # left out, so that a run without them is the run that it was before there were any
        deciding["start_parts"] = parts_digests(trained_config(settings), settings.start_parts)
    deciding["photographs"] = photographs.digest()
    upto = ({**deciding, "stages": deciding["stages"][: at + 1]} for at in range(len(settings.stages)))
    return tuple(hashlib.sha256(msgspec.json.encode(one, order="sorted")).hexdigest() for one in upto)


def _keep_settings(folder: Path, settings: TrainingSettings) -> None:
    (folder / JOB).write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")
