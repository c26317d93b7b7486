"""A run from its settings to its end: trained, its weights as the codecs load them, and their card."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ops.stores.local import LocalStore
from ops.training import checkpoints
from ops.training.loop import train
from ops.training.run import CHECKPOINTS, Place, Progress, Run
from ops.training.run_card import card_of
from ops.training.run_facts import facts_of
from ops.training.settings import TrainingSettings
from ops.training.start import Validated, export, prepared
from ops.weights import codec_files
from ops.weights.codec_files import CodecWeights

WEIGHTS, CARD = "weights.safetensors", "CARD.md"


class Trained(Struct, frozen=True, kw_only=True):
    """What came of a run: its file of weights, and seconds of each stage over all times that it was gone on with."""

    weights: CodecWeights
    seconds: tuple[float, ...]


def complete(
    folder: Path,
    settings: TrainingSettings,
    place: Place,
    *,
    told: Callable[[Progress], None] = lambda _: None,
    validated: Validated | None = None,
    stopping: Callable[[], bool] = lambda: False,
    ready: Callable[[], None] = lambda: None,
) -> Trained | None:
    """Train what is left of a run and, as its first worker, end it: weights and card. Other workers return None.

    `ready` is called when the run is made ready and steps begin. Raises as `prepared`, `train` and `export` do.
    """
    run = prepared(folder, settings, place, told=told, validated=validated, stopping=stopping)
    ready()
    if not place.rank:
        _set_aside(folder, settings)
    facts = train(run)
    if place.rank:
        return None
    return ended(run, tuple(float(facts.get(f"seconds_{at}") or 0.0) for at in range(len(settings.stages))))


def _set_aside(folder: Path, settings: TrainingSettings) -> None:
    """Give the weights of a run that has been given more stages since another name: they are not overwritten."""
    if (folder / WEIGHTS).exists() and not is_finished(folder, settings):
        digest = codec_files.read_header(str(folder / WEIGHTS)).digest
        (folder / WEIGHTS).rename(folder / f"weights-{digest[:8]}.safetensors")


def ended(run: Run, seconds: tuple[float, ...]) -> Trained:
    """Write the weights that are in the system, and the card; what is there already of the same run stays."""
    weights = export(run, str(run.folder / WEIGHTS), _origins(run))
    LocalStore().put(str(run.folder / CARD), card_of(facts_of(run, seconds, weights)).encode())
    return Trained(weights=weights, seconds=seconds)


def is_finished(folder: Path, settings: TrainingSettings) -> bool:
    """Say whether a run's folder holds the last checkpoint that there can be, and the weights."""
    last = checkpoints.name_of(len(settings.stages), 0)
    return (folder / CHECKPOINTS / last).exists() and (folder / WEIGHTS).exists()


def _origins(run: Run) -> dict[str, str]:
    """Return what the file of weights says of where it comes from."""
    number = len(run.photographs.photographs)
    begun = [run.settings.start_from or f"random numbers of seed {run.settings.seed}"]
    begun += [f"{part} of {place}" for part, place in sorted(run.settings.start_parts.items())]
    return {
        "photographs": f"{number} photographs, sha256 of their list {run.photographs.digest()}",
        "training": f"regrow train, {len(run.settings.stages)} stages, sha256 of its settings {run.digests[-1]}",
        "begun with": "; ".join(begun),
    }
