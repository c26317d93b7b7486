"""Job files: YAML that asks a pipeline for something, read strictly."""

import posixpath
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from jobs.errors import UsageError
from jobs.notifying import notify_from
from jobs.protocol_files import DEFAULT as DEFAULT_PROTOCOL
from jobs.protocol_files import read_protocol
from jobs.requests import AnyRequest, reading_for, source_of
from jobs.strict_yaml import load_mapping, nearest
from ops.archive.layout import Reading, SettingError
from ops.codecs.names import CodecError, codec_from
from ops.stores import absolute, join, open_store
from ops.stores.routing import PathError, check_named, scheme_of
from pipelines.requests import (
    ArchiveRequest,
    EvaluateRequest,
    ReconstructRequest,
    RetryRequest,
    ScoreRequest,
    SealRequest,
    VerifyRequest,
)

Fields: TypeAlias = dict[str, Any]

KINDS: dict[str, type[AnyRequest]] = {
    "archive": ArchiveRequest,
    "reconstruct": ReconstructRequest,
    "evaluate": EvaluateRequest,
    "retry": RetryRequest,
    "seal": SealRequest,
    "verify": VerifyRequest,
}
_PLAIN: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
}
_PATHS = ("source", "archive", "destination", "target", "references", "keys_from")


class SpecError(UsageError):
    """A job file that cannot be understood; the message names file, field, value and what is allowed."""


def read_job(url: str) -> AnyRequest:
    """Return what a job file asks for; its relative paths begin at its own folder.

    Raises SpecError for what is wrong in the file, OSError where it cannot be read.
    """
    check_named(url, "job")
    whole = absolute(url)
    try:
        found, folder = _load(open_store(whole).read(whole)), whole.rpartition("/")[0]
        # A schedule that has its job within can be run by itself, too.
        within = found["job"] if "cron" in found and isinstance(found.get("job"), dict) else None
        return _request(found, folder) if within is None else request_within(within, folder)
    except (UsageError, SettingError, PathError) as error:
        raise SpecError(f"{url}: {error}") from error


def parse_job(content: bytes | str, folder: str = "") -> AnyRequest:
    """Return what the text of a job file asks for. Raises UsageError, SettingError or PathError without its name."""
    return _request(_load(content), folder)


def request_within(fields: Fields, folder: str) -> AnyRequest:
    """Return what a job asks for that stands in a schedule. Raises UsageError, SettingError or PathError."""
    if "notify" in fields:
        raise UsageError("notify stands in the job: write it beside `job`, in the schedule")
    return _request(dict(fields), folder)


def _load(content: bytes | str) -> Fields:
    try:
        return load_mapping(content, f"a job file is a mapping that begins with `kind:` ({', '.join(KINDS)})")
    except UsageError as error:
        raise SpecError(str(error)) from error


def _request(found: Fields, folder: str) -> AnyRequest:
    notify_from(found.pop("notify", None))  # of no pipeline; who runs the file asks jobs.notifying for it
    kind = found.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        said = "is missing" if kind is None else f"is {kind!r}{nearest(str(kind), KINDS)}"
        raise SpecError(f"kind {said}: write {_listed(list(KINDS))}")
    if kind == "evaluate":
        found.setdefault("protocol", DEFAULT_PROTOCOL)
        if isinstance(found["protocol"], str) and found["protocol"].endswith((".yaml", ".yml")):
            found["protocol"] = _placed(found["protocol"], folder)
    values = _values(found, KINDS[kind], "")
    for name in _PATHS:
        if values.get(name) is not None:
            values[name] = _placed(values[name], folder)
    if "weights" in values:
        values["weights"] = tuple(_placed(place, folder) for place in values["weights"])
    if "reading" in values:
        values["reading"] = reading_for(values["target" if kind == "evaluate" else "archive"], values["reading"] or {})
    if values.get("data_set"):
        values["target"] = source_of(values["data_set"], values["target"])
    return KINDS[kind](**values)


def _values(found: Fields, struct: type[msgspec.Struct], prefix: str) -> Fields:
    """Return the fields of a mapping, each of its type."""
    known = {field.name: field for field in msgspec.structs.fields(struct)}
    for name in found:
        if name not in known:
            near = nearest(str(name), known)
            raise SpecError(f"unknown field {prefix}{name}{near}: there are {', '.join(known)}")
    for name, field in known.items():
        if field.required and found.get(name) is None:
            raise SpecError(f"field {prefix}{name} is missing")
    return {name: _value(found[name], known[name], prefix) for name in found}


def _value(value: Any, field: msgspec.structs.FieldInfo, prefix: str) -> Any:
    name = f"{prefix}{field.name}"
    if name == "codec" and value is not None:
        try:
            return codec_from(value)
        except CodecError as error:
            raise SpecError(f"field codec: {error}") from error
    if name == "codecs" and isinstance(value, list):
        try:
            return [codec_from(one) for one in value]
        except CodecError as error:
            raise SpecError(f"field codecs: {error}") from error
    if field.name == "protocol" and isinstance(value, str):
        return read_protocol(value)
    if name == "score" and isinstance(value, dict):
        return ScoreRequest(**_values({"protocol": DEFAULT_PROTOCOL, **value}, ScoreRequest, "score."))
    if name == "reading" and isinstance(value, dict):
        return _values(value, Reading, "reading.")
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        shown = msgspec.json.encode(value, enc_hook=str).decode()
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise SpecError(f"field {name} is {shown}: write {_allowed(inspect.type_info(field.type))}") from error


def _allowed(kind: inspect.Type) -> str:
    """Return in words what a field of a type may hold."""
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(_allowed(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return _listed([str(value) for value in values])
        case inspect.EnumType(cls=cls):
            return _listed([str(member.value) for member in cls])
        case inspect.ListType(item_type=one) | inspect.VarTupleType(item_type=one):
            return f"a list of: {_allowed(one)}"
        case inspect.StructType(fields=fields):
            return f"a mapping with {', '.join(field.name for field in fields)}"
        case _:
            plain = _PLAIN.get(type(kind), "text, in quotes where YAML takes it for something else")
            lowest = getattr(kind, "ge", None)
            return plain if lowest is None else f"{plain} from {lowest}"


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _placed(path: str, folder: str) -> str:
    """Return a path of a job file, which is relative to the folder of the file, in full."""
    if not path.strip():  # it is refused under its name
        return path
    if scheme_of(path) or path.startswith(("/", "~")) or Path(path).is_absolute() or not folder:
        return path
    scheme, separator, rest = folder.rpartition("://")
    # A slash at the end of a source can mean a prefix; normpath would take it away.
    return f"{scheme}{separator}{posixpath.normpath(join(rest, path))}{'/' * path.endswith('/')}"
