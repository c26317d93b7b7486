"""YAML files of ours, read strictly: what is wrong is said with its field, its value, and what is allowed there."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect

from jobs.errors import UsageError

T = TypeVar("T")

_WORDS: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text, in quotes where YAML takes it for something else",
}


def read_struct(content: bytes | str, kind: type[T]) -> T:
    """Return the struct that a YAML document describes. Raises UsageError, in one line, without the file's name."""
    found = load_mapping(content)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise UsageError(_explained(str(error), found, kind)) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean this?)` of the known name that is most like another, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a field that stands twice, of which YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        twice = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
        if twice is not None:
            raise UsageError(f"{twice!r} stands twice (line {node.start_mark.line + 1} and on): keep one")
        return super().construct_mapping(node, deep)


def load_mapping(
    content: bytes | str, refusal: str = "it is no mapping of fields: write `field: value`, one a line"
) -> Any:
    """Return the mapping that a YAML document is. Raises UsageError where it is none, with this refusal."""
    try:
        found = yaml.load(content, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        at = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"not YAML{at}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise UsageError(refusal)
    return found


def _explained(message: str, found: Any, kind: type) -> str:
    """Return a message of msgspec in words that say what would be right."""
    said, _, path = message.partition(" - at `$")
    steps = re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", path.rstrip("`"))
    value, allowed, where = found, inspect.type_info(kind), ""
    for name, index in steps:
        allowed, value = _step(allowed, value, name or index)
        where += f"[{index}]" if index else f".{name}" if where else name
    unknown = re.search(r"unknown field `(.*)`", said)
    missing = re.search(r"missing required field `(.*)`", said)
    inside = f"{where}." if where else ""
    if unknown:
        known = [field.encode_name for field in _chosen(allowed, value).fields]
        return f"unknown field {inside}{unknown[1]}{nearest(unknown[1], known)}: there are {', '.join(known)}"
    if missing:
        return f"field {inside}{missing[1]} is missing"
    if said.startswith(("Expected ", "Invalid ")):
        return f"field {where} is {_shown(value)}: write {_allowed(allowed)}"
    return f"field {where}: {said}" if where else said  # a struct's own words


def _step(kind: inspect.Type, value: Any, to: str) -> tuple[inspect.Type, Any]:
    """Return the type and the value of a field, of a list's place, or of something in a mapping."""
    chosen = _chosen(kind, value)
    if isinstance(chosen, inspect.StructType):
        below = value.get(to) if isinstance(value, dict) else None
        tag = inspect.LiteralType(tuple(_tags(kind))) if to == chosen.tag_field else None
        return tag or {field.encode_name: field.type for field in chosen.fields}.get(to, inspect.AnyType()), below
    if isinstance(chosen, inspect.ListType | inspect.VarTupleType) and to.isdigit():
        return chosen.item_type, value[int(to)]
    return getattr(chosen, "value_type", inspect.AnyType()), value


def _chosen(kind: inspect.Type, value: Any) -> Any:
    """Return of a union the struct that a mapping's tag names, or its first."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    known = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    named = [one for one in known if isinstance(one, inspect.StructType) and _names(one, value)]
    return (named or known)[0]


def _names(kind: inspect.StructType, value: Any) -> bool:
    return isinstance(value, dict) and value.get(kind.tag_field) == kind.tag


def _tags(kind: inspect.Type) -> list[str]:
    types = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [str(one.tag) for one in types if isinstance(one, inspect.StructType) and one.tag is not None]


def _shown(value: Any) -> str:
    shown = msgspec.json.encode(value, enc_hook=str).decode()
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _allowed(kind: inspect.Type) -> str:
    """Return in words what a field of a type may hold."""
    if _tags(kind):
        return f"a mapping with name: {_or(_tags(kind))}"
    match kind:
        case inspect.UnionType(types=types):
            words = " or ".join(_allowed(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            words = _or([str(value) for value in values])
        case inspect.ListType(item_type=one) | inspect.VarTupleType(item_type=one):
            words = f"a list of: {_allowed(one)}"
        case inspect.DictType(value_type=one):
            words = f"a mapping to: {_allowed(one)}"
        case inspect.StructType(fields=fields):
            words = f"a mapping with {', '.join(field.encode_name for field in fields)}"
        case _:
            plain, lowest, highest = _WORDS.get(type(kind), "something else"), *_bounds(kind)
            words = plain + f" from {lowest}" * (lowest is not None) + f" to {highest}" * (highest is not None)
            multiple = getattr(kind, "multiple_of", None)
            words += f", a multiple of {multiple}" * bool(multiple)
    return words


def _bounds(kind: inspect.Type) -> tuple[float | None, float | None]:
    return getattr(kind, "ge", None), getattr(kind, "le", None)


def _or(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
