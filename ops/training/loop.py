"""The loop: steps of all stages in order, from a checkpoint to the same bits as if it had never stopped."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from ops.rescalers.system import System
from ops.training import checkpoints
from ops.training.adapters import Adapters
from ops.training.ahead import Ahead
from ops.training.average import Average
from ops.training.checkpoints import Checkpoint, Fact
from ops.training.crops import Crops
from ops.training.curves import Curves
from ops.training.errors import TrainingError
from ops.training.objectives import OBJECTIVES
from ops.training.rates import rate_at
from ops.training.run import Progress, Run, Stopped
from ops.training.settings import Stage


def train(run: Run) -> dict[str, Fact]:
    """Train what is left of a run, from its newest checkpoint on, or from its beginning; return the facts of all of it.

    Ends with the averaged weights in the system. The facts are `seconds_0` and so on, of each stage. Raises
    TrainingError where a loss is no number, a checkpoint cannot be written, or is of another configuration, and Stopped
    where it was asked to stop.
    """
    found = checkpoints.newest(run.checkpoints)
    if found is not None:
        checkpoints.check(found, run.digests)
        if not found.step:  # a stage that is halfway loads by itself, once its adapters are in their places
            run.system.load_state_dict(found.model)
    first = (found.stage, found.step) if found is not None else (0, 0)
    facts: dict[str, Fact] = dict(found.facts) if found is not None else {}
    with Curves(run.folder, first) if run.place.rank == 0 else nullcontext() as curves:
        for at in range(first[0], len(run.settings.stages)):
            halfway = found is not None and found.stage == at and found.step > 0
            RunningStage(run, at, found if halfway else None, facts).finish(curves)
    return facts


class RunningStage:
    """One stage of a run, with its optimiser and its running average; it goes on from a checkpoint within it."""

    def __init__(self, run: Run, at: int, found: Checkpoint | None, facts: dict[str, Fact]) -> None:
        self._run, self._at, self._stage = run, at, run.settings.stages[at]
        self._facts, self._earlier = facts, float(facts.get(f"seconds_{at}") or 0.0)
        self._begun = time.monotonic()
        self._first = found.step if found is not None else 0
        stage = self._stage
        _check_parts(stage, run.place.workers)
        self._objective = OBJECTIVES[stage.objective](run.system, stage, at, run.settings.seed)
        self._adapters = Adapters(run.system, stage, self._objective.trained, at, run.settings.seed)
        if found is not None:
            run.system.load_state_dict(found.model)
        self._learning = learn(run.system, self._adapters.trained)
        self._module = run.place.wrap(self._objective)
        self._average = Average(run.system, stage.average)
        self._optimiser = torch.optim.AdamW(
            self._learning, lr=stage.rate.start, betas=stage.optimiser.betas, weight_decay=stage.optimiser.weight_decay
        )
        self._crops = Crops(run.photographs, stage.crop, run.settings.seed, run.settings.photographs.cache_megapixels)
        if found is not None:
            self._average.load(found.average)
            self._optimiser.load_state_dict(found.optimiser)

    @property
    def num_learning(self) -> int:
        """How many numbers it trains."""
        return sum(parameter.numel() for parameter in self._learning)

    @torch.no_grad()
    def values(self, crops: np.ndarray) -> dict[str, float]:
        """Return the terms of crops, without training on them. Raises TrainingError where one is missing."""
        found = self._module(to_tensor(crops, self._run.place.device), 0, 0)
        weighed(found, self._stage)
        return {term: float(value) for term, value in found.items()}

    def finish(self, curves: Curves | None) -> None:
        """Do the steps that are left, and end with the averaged weights in the system; only the first has curves."""
        begun = time.monotonic()
        with Ahead(self._batch, self._first, self._stage.steps) as batches:
            for step, batch in enumerate(batches, self._first):
                values, stopping = self._step(step, batch)
                seconds = (time.monotonic() - begun) / (step + 1 - self._first)
                if curves is not None:
                    self._after(step, values | {"seconds": seconds}, curves)
                if stopping and step + 1 < self._stage.steps:
                    self._stop(step + 1)
        self.settle()
        self._save(self._at + 1, 0)

    def settle(self) -> None:
        """Put the running averages into the system, and the adapters into the weights that they adapt."""
        self._average.copy_into(self._run.system)
        self._adapters.merge()

    def _stop(self, done: int) -> None:
        self._save(self._at, done)
        raise Stopped(f"{done:,} of {self._stage.steps:,} steps of stage {self._at} ({self._stage.objective}) are done")

    def _batch(self, step: int) -> list[tuple[int, np.ndarray]]:
        """Return this worker's share of a step: for each portion, the index of its first crop, and its crops."""
        stage, place = self._stage, self._run.place
        size = stage.batch // stage.accumulate // place.workers
        firsts = [(portion * place.workers + place.rank) * size for portion in range(stage.accumulate)]
        return [(first, self._crops.batch(self._at, step, range(first, first + size))) for first in firsts]

    def _step(self, step: int, batch: Sequence[tuple[int, np.ndarray]]) -> tuple[dict[str, float], bool]:
        """Do a step; return its values, and whether to stop behind it."""
        stage, rate = self._stage, rate_at(self._stage.rate, step, self._stage.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for first, crops in batch:
            values = self._module(to_tensor(crops, self._run.place.device), step, first)
            (weighed(values, stage) / len(batch)).backward()
            for term, value in values.items():
                sums[term] = sums.get(term, 0.0) + float(value.detach()) / len(batch)
        norm = float(nn.utils.clip_grad_norm_(self._learning, stage.optimiser.clip or math.inf))
        stopping, *means = self._run.place.averaged([float(self._run.stopping()), *sums.values()])
        sums = dict(zip(sums, means, strict=True))
        loss = sum(stage.losses[term] * value for term, value in sums.items())
        if not math.isfinite(loss + norm):
            self._refuse(step, sums)
        self._optimiser.step()
        self._objective.after_step()
        self._average.update(self._run.system)
        return {**sums, "loss": loss, "rate": rate, "gradient": norm}, stopping > 0

    def _refuse(self, step: int, sums: dict[str, float]) -> None:
        said = ", ".join(f"{term} {value:.4g}" for term, value in sums.items())
        raise TrainingError(
            f"stage {self._at} ({self._stage.objective}) came to no number at step {step} ({said}): the checkpoints in "
            f"{self._run.checkpoints} are as they were; go on from there with a lower rate, or in float32"
        )

    def _after(self, step: int, values: dict[str, float], curves: Curves) -> None:
        """Tell, validate and keep, each in its rhythm."""
        run, stage, rhythm, done = self._run, self._stage, self._run.settings.rhythm, step + 1
        ended = done == stage.steps
        if done % rhythm.curve == 0 or ended:
            curves.add(self._at, step, values)
            left = values["seconds"] * (stage.steps - done)
            told = {"objective": stage.objective, "loss": values["loss"], "seconds_left": left}
            run.told(Progress(stage=self._at, step=done, steps=stage.steps, **told))
        if done % rhythm.validate == 0 or ended:
            with self._average.swapped(run.system), self._adapters.merged():
                found = run.validated(self._at, done)
            if found:
                curves.add(self._at, step, found)
        if done % rhythm.checkpoint == 0 and not ended:
            self._save(self._at, done)

    def _save(self, stage: int, step: int) -> None:
        """Keep what the run goes on from; at the beginning of the next stage that is the networks alone."""
        self._facts[f"seconds_{self._at}"] = self._earlier + time.monotonic() - self._begun
        if self._run.place.rank:
            return
        halfway = stage == self._at
        checkpoint = Checkpoint(
            stage=stage,
            step=step,
            digest=self._run.digests[self._at],
            model=dict(self._run.system.state_dict()),
            average=self._average.state() if halfway else {},
            optimiser=self._optimiser.state_dict() if halfway else {},
            facts=self._facts,
        )
        checkpoints.save(self._run.checkpoints, checkpoint, keep=not halfway)


def learn(system: System, prefixes: Sequence[str]) -> list[nn.Parameter]:
    """Let those parameters of a system learn whose names begin with one of the prefixes, and return them."""
    learning = []
    for name, parameter in system.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(prefixes)))
        if parameter.requires_grad:
            learning.append(parameter)
    if not learning:
        raise TrainingError(f"{type(system).__name__} has no {' or '.join(prefixes)} to train: use another objective")
    return learning


def weighed(values: dict[str, Tensor], stage: Stage) -> Tensor:
    """Return the loss: the sum of the terms by their weights. Raises TrainingError for one that is not there."""
    if missing := [term for term, weight in stage.losses.items() if weight and term not in values]:
        there = ", ".join(sorted(values)) or "none of those"
        raise TrainingError(f"stage {stage.objective} has no loss {missing[0]!r}: it has {there}")
    return torch.stack([stage.losses[term] * value for term, value in values.items()]).sum()


def to_tensor(crops: np.ndarray, device: str) -> Tensor:
    """Return crops (n, s, s, 3) of 8 bits as (n, 3, s, s) from -1 to 1."""
    x = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2)
    return (x.to(torch.float32) / 255 - 0.5) / 0.5


def _check_parts(stage: Stage, workers: int) -> None:
    if stage.batch % (stage.accumulate * workers):
        raise TrainingError(
            f"stage {stage.objective}: a batch of {stage.batch} in {stage.accumulate} portions does not part among "
            f"{workers} workers: use a number that divides"
        )
    if (stage.vgg_images or stage.batch) % (stage.accumulate * workers):
        raise TrainingError(
            f"stage {stage.objective}: vgg_images {stage.vgg_images} in {stage.accumulate} portions do not part among "
            f"{workers} workers: each must have as many, so use a multiple of {stage.accumulate * workers}"
        )
