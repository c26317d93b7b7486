"""Tying codecs to files of weights: to the one that was named, or to the only one that fits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from msgspec.structs import replace

from ops.codecs.base import CodecConfig, Runtime
from ops.codecs.learned import LearnedConfig, MisfitWeights
from ops.codecs.names import CodecError
from ops.stores import absolute
from ops.stores.routing import scheme_of
from ops.weights.codec_files import SUFFIX, CodecWeights, find, in_folder, in_places, read_header, shipped
from ops.weights.files import WeightsError

Config = TypeVar("Config", bound=CodecConfig)


def bind(config: Config, places: Sequence[str] = ()) -> Config:
    """Return a codec's config with the digest of the weights that it is to run on; one without weights as it is.

    A file among the places is meant, and must fit; else the only one that fits in their folders is taken; without any
    the only one in the folder of weights, where a trained one comes before the one that comes with regrow, and that
    before an untrained one. Raises CodecError where none fits or several do, WeightsError and Unavailable as
    `ops.weights.codec_files` does.
    """
    return bind_all([config], places)[0]


def bind_all(configs: Sequence[Config], places: Sequence[str] = ()) -> list[Config]:
    """Do the same for several codecs: each file among the places must fit one of them.

    Raises CodecError where none of them runs on weights, but places of some are given.
    """
    refuse_needless(configs, places)
    files = [place for place in map(absolute, places) if _is_file(place)]
    folders = [place for place in map(absolute, places) if place not in files]
    named = [read_header(url) for url in files]
    learned = [config for config in configs if isinstance(config, LearnedConfig)]
    for one in named:
        misfits = [why for config in learned if (why := misfit(config, one))]
        if learned and len(misfits) == len(learned):
            raise CodecError(misfits[0])
    return [
        cast("Config", _bound(config, named, folders)) if isinstance(config, LearnedConfig) else config
        for config in configs
    ]


def weights_of(config: CodecConfig, places: Sequence[str] = ()) -> CodecWeights | None:
    """Return what the file of a bound config says of itself; nothing for a codec without weights.

    Raises Unavailable where it is in none of the places, CodecError where it was made for other settings.
    """
    if not isinstance(config, LearnedConfig):
        return None
    found = find(config.weights, places)
    try:
        config.check_made_for(found.settings)
    except MisfitWeights as why:
        raise CodecError(f"{found.url} does not fit {config.spelling()}: {why}") from why
    return found


def check_runs(config: CodecConfig, places: Sequence[str] = ()) -> None:
    """Raise where a codec cannot run on this machine. Reads no tensors: a worker proves them when it loads them."""
    if weights_of(config, places) is None:
        config.load(Runtime())
        return
    if isinstance(config, LearnedConfig):
        config.check_installed()


def refuse_untrained(config: CodecConfig, found: CodecWeights | None, *, allowed: bool) -> bool:
    """Return whether weights are untrained. Raises WeightsError where they are and that is not allowed."""
    if found is None or found.trained:
        return False
    if not allowed:
        raise WeightsError(
            f"{found.url} holds untrained weights, so all that {config.spelling()} regrows is noise: use trained ones, "
            "or say --allow-untrained to try things out"
        )
    return True


def refuse_needless(configs: Sequence[CodecConfig], places: Sequence[str]) -> None:
    """Raise CodecError where places of weights are given, but no codec runs on any."""
    if places and configs and not any(isinstance(config, LearnedConfig) for config in configs):
        spelled = ", ".join(config.spelling() for config in configs)
        raise CodecError(f"{spelled} {'has' if len(configs) == 1 else 'have'} no weights: leave --weights out")


def reach(runtime: Runtime, places: Sequence[str]) -> Runtime:
    """Return a runtime that looks for weights in places; a worker elsewhere may not have its driver's folders."""
    here = [place for place in map(absolute, places) if scheme_of(place) or Path(place).exists()]
    return replace(runtime, weights=tuple(here))


def misfit(config: LearnedConfig, found: CodecWeights) -> str:
    """Return why a file does not fit a codec, in a line; nothing where it does."""
    try:
        config.bound(found.digest, found.settings)
    except MisfitWeights as why:
        return f"{found.url} does not fit {config.spelling()}: {why}"
    return ""


def _bound(config: LearnedConfig, named: Sequence[CodecWeights], folders: Sequence[str]) -> LearnedConfig:
    if config.weights:
        found = find(config.weights, [*(one.url for one in named), *folders])
        if why := misfit(config, found):
            raise CodecError(why)
        return config.bound(found.digest, found.settings)
    fitting, beside = [one for one in named if not misfit(config, one)], []
    for place in () if fitting else _places(folders):
        beside += [one for one in place if one.settings.get("name") == config.name]
        if fitting := [one for one in beside if not misfit(config, one)]:
            break
    fitting = _once(fitting)
    if not fitting:
        hint = f"; {misfit(config, beside[0])}" if beside else ""
        raise CodecError(
            f"{config.spelling()} needs weights: give --weights FILE (made by `regrow weights convert` or, to try "
            f"things out, `regrow weights make-random --codec {config.spelling()}`){hint}"
        )
    if len(fitting) > 1:
        listed = ", ".join(f"{one.url}{'' if one.trained else ' (untrained)'}" for one in fitting)
        raise CodecError(f"{config.spelling()}: {len(fitting)} files of weights fit; name one with --weights: {listed}")
    return config.bound(fitting[0].digest, fitting[0].settings)


def _places(folders: Sequence[str]) -> Iterator[list[CodecWeights]]:
    """Yield what lies in one place after another: a fit in one ends the search."""
    yield in_places(folders)
    own = in_folder()
    yield [one for one in own if one.trained]
    yield shipped()
    yield own


def _once(found: Sequence[CodecWeights]) -> list[CodecWeights]:
    """Return one file of each digest."""
    return list({one.digest: one for one in reversed(found)}.values())[::-1]


def _is_file(place: str) -> bool:
    return place.endswith(SUFFIX) or (not scheme_of(place) and Path(place).is_file())
