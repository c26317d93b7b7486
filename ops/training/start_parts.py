"""Parts of a system that begin with weights from elsewhere: another codec's file, or published base models."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from ops.codecs.latent import LatentConfig
from ops.networks.strict import misfit_of
from ops.rescalers.system import System
from ops.training.errors import TrainingError
from ops.weights import codec_files
from ops.weights.base_models import read_base, read_part
from ops.weights.base_places import Place, opened_place
from ops.weights.codec_files import SUFFIX, CodecWeights
from ops.weights.files import WeightsError
from ops.weights.opened import sha256_of
from ops.weights.prompt import embed_prompt, read_prompt

if TYPE_CHECKING:
    from torch import Tensor

PROMPT, TEXT_ENCODER = "prompt", "text_encoder"
BASE_PARTS = ("unet", "vae", PROMPT)


def load_parts(system: System, config: LatentConfig, places: Mapping[str, str]) -> None:
    """Put the tensors of parts into a system from their places; all others stay.

    Raises TrainingError naming part, place and remedy where a part is unknown, a file missing, or a tensor misfits.
    """
    own = system.state_dict()
    for part, place in _with_prompt(own, places).items():
        wanted = {name: tensor for name, tensor in own.items() if _is_of(part, name)}
        if not wanted:
            there = ", ".join(dict.fromkeys(name.partition(".")[0] for name in own))
            raise TrainingError(f"start_parts: {config.spelling()} has no part {part!r}: it has {there}")
        try:
            tensors = _tensors(system, config, part, place)
        except WeightsError as why:
            raise TrainingError(f"start_parts, {part}: {why}") from why
        if wrong := misfit_of(wanted, tensors):
            raise TrainingError(f"start_parts, {part}: {place} does not fit {config.spelling()}: {wrong}; use another")
        system.load_state_dict(tensors, strict=False)


def parts_digests(config: LatentConfig, places: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what is in the places of parts, wherever they lie: digests of codecs' files, sha256 of others.

    Raises TrainingError where one is missing.
    """
    with torch.device("meta"):
        own = config.network().state_dict()
    return {part: _digests(part, place) for part, place in _with_prompt(own, places).items()}


def _with_prompt(own: Collection[str], places: Mapping[str, str]) -> dict[str, str]:
    """Return places with that of the prompt, which is the U-Net's unless it is named: one was made for the other."""
    implied = {PROMPT: places["unet"]} if "unet" in places and PROMPT in own else {}
    return {**implied, **places}


def _is_of(part: str, name: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _codec_file(part: str, place: str) -> CodecWeights | None:
    """Return the codec's file at a place, or nothing where that is a base model's. Raises WeightsError."""
    if part not in BASE_PARTS:
        return codec_files.read_header(place)
    if place.endswith(SUFFIX):
        with suppress(WeightsError):  # of a base model, or not there, which its reader tells
            return codec_files.read_header(place)
    return None


def _tensors(system: System, config: LatentConfig, part: str, place: str) -> "dict[str, Tensor]":
    found = _codec_file(part, place)
    if found is not None:
        _check_prediction(config, part, place, found.settings.get("prediction", "epsilon"))
        return {name: tensor for name, tensor in codec_files.load(found).items() if _is_of(part, name)}
    with opened_place(place) as opened:
        if part == PROMPT:
            return _prompt(opened, tuple(system.state_dict()[PROMPT].shape))
        network: Any = system.get_submodule(part)
        if part == "unet":
            base = read_base(opened, network)
            _check_prediction(config, part, place, base.prediction)
            tensors = base.unet.tensors
        else:
            tensors = read_part(opened, part, network).tensors
        # Copied at once: what is mapped may be a copy that goes with the place.
        return {f"{part}.{name}": tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}


def _prompt(place: Place, shape: tuple[int, ...]) -> "dict[str, Tensor]":
    return (read_prompt(place.url, shape) if place.is_file else embed_prompt(place, shape)).tensors


def _check_prediction(config: LatentConfig, part: str, place: str, found: str | None) -> None:
    """Raise TrainingError where a U-Net predicts something else: training would begin with plausible nonsense."""
    wanted = config.network_settings().get("prediction", "epsilon")
    if part != "unet" or found in (None, wanted):
        return
    remedy = f"write prediction: {found} under codec" if "prediction" in config.of_networks else "use another"
    raise TrainingError(
        f"start_parts, unet: {place} predicts {found}, but the U-Net of {config.spelling()} {wanted}: {remedy}"
    )


def _digests(part: str, place: str) -> list[str]:
    try:
        found = _codec_file(part, place)
        if found is not None:
            return [found.digest]
        with opened_place(place) as opened:
            named = part if part != PROMPT else TEXT_ENCODER
            return sorted(sha256_of(path) for path in opened.tensor_files(named))
    except WeightsError as why:
        raise TrainingError(f"start_parts, {part}: {why}") from why
