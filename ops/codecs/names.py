"""Which codecs there are, and how people spell them."""

import difflib
import re
from collections.abc import Mapping
from typing import TypeAlias, get_args

import msgspec
from msgspec import inspect

from ops.codecs.base import CodecConfig
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.conventional import AvifConfig, JpegConfig, JxlConfig, WebpConfig
from ops.codecs.faitheir import FaithEirConfig
from ops.codecs.nano import NanoConfig
from ops.codecs.osirdiff import OsirdiffConfig
from ops.codecs.tadm import TadmConfig
from ops.codecs.vae import VaeConfig

AnyCodec: TypeAlias = (
    BicubicConfig
    | JpegConfig
    | WebpConfig
    | AvifConfig
    | JxlConfig
    | NanoConfig
    | TadmConfig
    | OsirdiffConfig
    | FaithEirConfig
    | VaeConfig
)

# That of a new archive, where none is named. Archives say which codec they have: one that is there never changes.
DEFAULT_CODEC = "nano-x16"
NUMBERS = {"q": "quality", "x": "scale"}


class CodecError(ValueError):
    """A codec that was spelled or set up wrongly; the message says what would be right."""


def codec_from(value: object) -> AnyCodec:
    """Return the config for a spelling (`bicubic-x16`) or for a mapping as in a job file (`name: bicubic`, fields)."""
    if isinstance(value, str):
        return parse_codec(value)
    if isinstance(value, CodecConfig):
        return value  # pyright: ignore[reportReturnType]  # every config that can be made is in the union
    if not isinstance(value, Mapping) or "name" not in value:
        raise CodecError(f"codec {value!r} has no name: {_known()}")
    config_class = _config_class(str(value["name"]), str(value["name"]))
    try:
        return msgspec.convert(_with_preset(config_class, value), AnyCodec)
    except msgspec.ValidationError as error:
        raise CodecError(f"codec {value['name']}: {error}") from error


def parse_codec(spelling: str) -> AnyCodec:
    """Return the config that `spelling()` gives back, such as for `jpeg-q50-x4`. Raises CodecError."""
    name, *parts = spelling.strip().lower().split("-")
    config_class = _config_class(name, spelling)
    settings: dict[str, int] = {}
    fields = _number_fields(config_class)
    for part in parts:
        letter, digits = part[:1], part[1:]
        field = fields.get(NUMBERS.get(letter, ""))
        if field is None or field.name in settings or not re.fullmatch(r"[0-9]{1,6}", digits):
            raise CodecError(f"codec {spelling!r}: {part!r} is not understood; write {_pattern(config_class)}")
        settings[field.name] = _admitted(int(digits), field, spelling)
    for field in fields.values():
        if field.required and field.name not in settings:
            raise CodecError(f"codec {spelling!r} lacks its {field.name}: write {_pattern(config_class)}")
    return msgspec.convert({"name": name, **settings}, AnyCodec)


def _with_preset(config_class: type[CodecConfig], value: Mapping[str, object]) -> Mapping[str, object]:
    """Return a mapping with the settings of the preset that it names; what it says itself goes before them."""
    named = value.get("preset")
    if named is None:
        return value
    if named not in config_class.presets:
        there = ", ".join(config_class.presets) or "none"
        raise CodecError(f"codec {value['name']} has no preset {named!r}; there are: {there}")
    return {**config_class.presets[str(named)], **{name: one for name, one in value.items() if name != "preset"}}


def known_spellings() -> list[str]:
    """Return how each codec is spelled, with its ranges: `bicubic-xN (scale 2 to 64)`."""
    return [_pattern(config_class) for config_class in _classes()]


def _classes() -> tuple[type[CodecConfig], ...]:
    return get_args(AnyCodec)


def _config_class(name: str, spelling: str) -> type[CodecConfig]:
    classes = {str(one.__struct_config__.tag): one for one in _classes()}
    if name in classes:
        return classes[name]
    nearest = difflib.get_close_matches(name, classes, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise CodecError(f"no codec {spelling!r}{hint or ';'} {_known()}")


def _known() -> str:
    return f"there are: {', '.join(known_spellings())}"


def _number_fields(config_class: type[CodecConfig]) -> dict[str, inspect.Field]:
    """Return those fields that a spelling can say, in its order."""
    info = inspect.type_info(config_class)
    fields = {field.name: field for field in getattr(info, "fields", ())}
    return {name: fields[name] for name in NUMBERS.values() if name in fields}


def _pattern(config_class: type[CodecConfig]) -> str:
    fields = _number_fields(config_class)
    letters = {field: letter for letter, field in NUMBERS.items()}
    parts = [f"-{letters[name]}N" if field.required else f"[-{letters[name]}N]" for name, field in fields.items()]
    ranges = ", ".join(f"{name} {_range(field.type)}" for name, field in fields.items())
    return f"{config_class.__struct_config__.tag}{''.join(parts)} ({ranges})"


def _range(number: inspect.Type) -> str:
    if isinstance(number, inspect.LiteralType):
        return " or ".join(str(value) for value in number.values)
    return f"{getattr(number, 'ge', None)} to {getattr(number, 'le', None)}"


def _admitted(value: int, field: inspect.Field, spelling: str) -> int:
    number = field.type
    if isinstance(number, inspect.LiteralType):
        inside = value in number.values
    else:
        lowest, highest = getattr(number, "ge", None), getattr(number, "le", None)
        inside = (lowest is None or value >= lowest) and (highest is None or value <= highest)
    if not inside:
        raise CodecError(f"codec {spelling!r}: {field.name} {value} is out of range; it is {_range(number)}")
    return value
