"""Weights of codecs on the command line: which codec is meant, what it needs to be converted, how a file is shown."""

from typing import Any, cast

import msgspec

from jobs.errors import UsageError
from jobs.output import write_facts, write_json, write_lines
from jobs.words import count, size_words
from ops.codecs.learned import LearnedConfig, Size
from ops.codecs.names import codec_from
from ops.weights.codec_files import CodecWeights
from ops.weights.convert import convert_faitheir, convert_tadm, convert_vae


def learned(codec: str, size: Size | None) -> LearnedConfig:
    """Return the config of a codec that runs on weights, of its own size where none is given.

    Raises UsageError for a codec without weights, CodecError for a size that it has not.
    """
    config = codec_from(codec)
    if not isinstance(config, LearnedConfig):
        raise UsageError(f"{codec} runs on no weights; name a learned codec, such as tadm-x16")
    if size is None:
        return config
    resized = codec_from({**msgspec.to_builtins(config), "size": size})
    return cast("LearnedConfig", resized)


def convert(config: LearnedConfig, published: dict[str, Any], **choices: Any) -> CodecWeights:
    """Convert what a codec's authors published. Raises UsageError where something that it needs is not named."""
    if config.name == "faitheir":
        return convert_faitheir(config)
    if config.name == "vae":
        return convert_vae(config, **{name: choices[name] for name in ("vae", "dtype", "redistribution", "url")})
    if config.name not in ("tadm", "osirdiff"):
        raise UsageError(f"{config.spelling()}: nothing is published to be converted; use tadm-xN, osirdiff-xN or vae")
    if missing := [f"--{name}" for name, value in published.items() if not value]:
        raise UsageError(f"{config.spelling()} lacks {', '.join(missing)}; see `regrow weights convert --help`")
    return convert_tadm(
        config,
        checkpoint=published["checkpoint"],
        rescaling=published["rescaling"],
        bases=published["base"],
        **choices,
    )


def show(weights: CodecWeights, *, json: bool) -> None:
    """Write what a file of weights says of itself."""
    if json:
        write_json(weights)
        return
    write_lines([weights.url])
    write_facts(facts(weights))


def facts(weights: CodecWeights) -> list[tuple[str, str]]:
    """Return names and values, for people."""
    settings = ", ".join(f"{name} {value}" for name, value in weights.settings.items() if name != "name")
    return [
        ("codec", f"{weights.settings.get('name', '?')} ({settings})"),
        ("trained", "yes" if weights.trained else "UNTRAINED: random numbers, which regrow no pictures"),
        ("parameters", f"{count(weights.parameters, 'number')}, {size_words(weights.size_bytes)}"),
        ("licence", weights.licence),
        ("archives", "may carry it" if weights.redistribution else "may only name it by its digest"),
        *((f"from: {part}", origin) for part, origin in weights.origins.items()),
        ("digest", weights.digest),
    ]
