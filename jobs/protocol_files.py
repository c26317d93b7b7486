"""Protocols by the name of a preset, or from a file."""

from pathlib import Path
from posixpath import basename

from jobs.errors import UsageError
from jobs.strict_yaml import nearest, read_struct
from ops.metrics.protocol import Protocol
from ops.stores import absolute, open_store
from ops.stores.routing import check_named

PRESETS = Path(__file__).parent / "protocols"
DEFAULT = "regrow"


class ProtocolError(UsageError):
    """A protocol that is not there or cannot be understood; the message names file, field and what is allowed."""


def known_protocols() -> list[str]:
    """Return the names of the presets, the default first."""
    return sorted((path.stem for path in PRESETS.glob("*.yaml")), key=lambda name: (name != DEFAULT, name))


def read_protocol(name_or_path: str = DEFAULT) -> Protocol:
    """Return a preset by its name, or the protocol of a YAML file at a path or URL.

    Raises ProtocolError for an unknown name and for what is wrong in a file, OSError where it cannot be read.
    """
    check_named(name_or_path, "protocol")
    if _is_path(name_or_path):
        return _decoded(name_or_path, open_store(absolute(name_or_path)).read(absolute(name_or_path)))
    known = known_protocols()
    if name_or_path not in known:
        near = nearest(name_or_path, known)
        raise ProtocolError(f"no protocol {name_or_path!r}{near}: there are {', '.join(known)}, or name a .yaml file")
    return _decoded(name_or_path, (PRESETS / f"{name_or_path}.yaml").read_bytes())


def _is_path(text: str) -> bool:
    return "/" in text or basename(text).endswith((".yaml", ".yml"))


def _decoded(where: str, content: bytes) -> Protocol:
    try:
        return read_struct(content, Protocol)
    except UsageError as error:
        raise ProtocolError(f"{where}: {error}") from error
