"""What codecs of one run are called: their spelling, and of several spelled alike the settings that differ."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from ops.codecs.base import CodecConfig

DIGITS_OF_WEIGHTS = 12


def labels_of(configs: Sequence[CodecConfig]) -> list[str]:
    """Return a name for each codec, such as `tadm-x16`, or `tadm-x16 (tile 64)` beside another `tadm-x16`.

    Equal configs have equal names.
    """
    spelled: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for config in configs:
        spelled[config.spelling()].append(msgspec.to_builtins(config))
    return [_label(config, spelled[config.spelling()]) for config in configs]


def _label(config: CodecConfig, alike: Sequence[dict[str, Any]]) -> str:
    own = msgspec.to_builtins(config)
    differing = [name for name in own if any(other.get(name) != own[name] for other in alike)]
    words = ", ".join(f"{name.replace('_', ' ')} {_shown(name, own[name])}" for name in differing)
    return f"{config.spelling()} ({words})" if words else config.spelling()


def _shown(name: str, value: object) -> str:
    if name == "weights":
        return str(value)[:DIGITS_OF_WEIGHTS] or "unbound"
    return str(value).lower() if isinstance(value, bool) else str(value)
