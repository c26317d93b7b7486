"""What a run was made of and came to, for its card: from its own files, so that a resumed run says the same."""

import platform
from collections import Counter
from typing import Any, cast

import torch
from msgspec import Struct

from ops.codecs.learned import LearnedConfig
from ops.training.adapters import trained_words
from ops.training.curves import FILE, read_points
from ops.training.objectives import OBJECTIVES
from ops.training.run import Run
from ops.training.start import trained_config
from ops.weights.codec_files import CodecWeights

# Of losses and the loop itself; all else on a point is a score.
SCORE = "psnr"


class Group(Struct, frozen=True, kw_only=True):
    """A group of photographs: how many, and under which licence; empty where the job file says none."""

    name: str
    photographs: int
    licence: str


class Photograph(Struct, frozen=True, kw_only=True):
    """A photograph that was trained on: its name and group, its pixels, and its encoded bytes."""

    key: str
    group: str
    width: int
    height: int
    size: int


class StageFacts(Struct, frozen=True, kw_only=True):
    """A stage as it was run: crops are `steps` times `batch`, `seconds` those of all times that it was gone on with."""

    objective: str
    steps: int
    batch: int
    side: int
    precision: str
    rate: float
    losses: dict[str, float]
    trains: tuple[str, ...]
    seconds: float


class RunFacts(Struct, frozen=True, kw_only=True):
    """All that a card says. `scores` are those of the newest validation, `trained_on` the metrics among the losses."""

    codec: str
    weights: CodecWeights
    device: str
    stack: str
    seed: int
    stages: tuple[StageFacts, ...]
    groups: tuple[Group, ...]
    photographs: tuple[Photograph, ...]
    photographs_digest: str
    held_out: tuple[str, ...]
    left_out: int
    scores: dict[str, float]
    trained_on: tuple[str, ...]


def facts_of(run: Run, seconds: tuple[float, ...], weights: CodecWeights) -> RunFacts:
    """Return the facts of a run that is done."""
    config, photographs = cast("LearnedConfig", trained_config(run.settings)), run.photographs
    counts = Counter(one.group for one in photographs.photographs)
    losses = {term for stage in run.settings.stages for term, weight in stage.losses.items() if weight}
    return RunFacts(
        codec=config.spelling(),
        weights=weights,
        device=run.place.device,
        stack=f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}",
        seed=run.settings.seed,
        stages=tuple(_stage_facts(run, at, one) for at, one in enumerate(seconds)),
        groups=tuple(
            Group(name=name, photographs=counts[name], licence=run.settings.licences.get(name, ""))
            for name in sorted(counts)
        ),
        photographs=tuple(
            Photograph(key=one.key, group=one.group, width=one.width, height=one.height, size=one.size)
            for one in photographs.photographs
        ),
        photographs_digest=photographs.digest(),
        held_out=tuple(one.key for one in photographs.held_out),
        left_out=len(photographs.left_out),
        scores=newest_scores(read_points(run.folder / FILE)),
        trained_on=tuple(term for term in ("lpips_alex", "lpips_vgg", "dists") if term in losses),
    )


def newest_scores(points: list[dict[str, Any]]) -> dict[str, float]:
    """Return what the newest validation measured; nothing where none was."""
    judged = [point for point in points if point.get(SCORE) is not None]
    if not judged:
        return {}
    return {name: value for name, value in judged[-1].items() if name not in ("stage", "step") and value is not None}


def _stage_facts(run: Run, at: int, seconds: float) -> StageFacts:
    stage = run.settings.stages[at]
    return StageFacts(
        objective=stage.objective,
        steps=stage.steps,
        batch=stage.batch,
        side=stage.crop.side,
        precision=stage.precision,
        rate=stage.rate.start,
        losses=stage.losses,
        trains=trained_words(run.system, stage, OBJECTIVES[stage.objective].trained),
        seconds=seconds,
    )
