"""reconstruct: from an archive into a folder, or one thumbnail into a picture."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec import Struct

from jobs.commands.options import Address, DryRun, Json, Match, Quiet, Weights, Where
from jobs.errors import InputError, UsageError

if TYPE_CHECKING:
    from jobs.alone import Regrown
    from jobs.output import Show

Format = Literal["png", "jpg", "webp", "tiff"]


class Choices(Struct, frozen=True, kw_only=True):
    """What of an archive is regrown. None of it suits a lone thumbnail."""

    keys: list[str] | None
    keys_from: str | None
    match: str | None
    where: str | None
    restore_metadata: bool

    def first_given(self) -> str | None:
        """Return how the first choice that was made is typed."""
        typed = {"keys": "KEYS", "keys_from": "--keys-from", "restore_metadata": "--restore-metadata"}
        # Also what is empty, as of a variable that is not set: it was typed.
        given = next((name for name in self.__struct_fields__ if getattr(self, name) not in (None, False)), None)
        return typed.get(given, f"--{given}") if given else None


def reconstruct(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="ARCHIVE|THUMBNAIL", help="An archive, or one thumbnail file.")],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="A folder or URL; for a thumbnail also a file.")
    ],
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEYS", help="Only these keys.")] = None,
    *,
    keys_from: Annotated[
        str | None,
        typer.Option(metavar="FILE|FOLDER/", help="Only keys in a file, a folder or prefix of files, or - (piped)."),
    ] = None,
    match: Match = None,
    where: Where = None,
    picture_format: Annotated[
        Format | None, typer.Option("--format", show_default="png", help="Of the pictures.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(metavar="N", show_default="90", help="1 to 100, for jpg and webp.")
    ] = None,
    restore_metadata: Annotated[
        bool, typer.Option("--restore-metadata", help="Put camera, time and place back into EXIF.")
    ] = False,
    weights: Weights = None,
    address: Address = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Regrow images of an archive into files, or one thumbnail into a picture.

    A lone thumbnail has neither transparency nor metadata: those are kept in its archive.
    """
    from jobs.alone import is_file, regrow_alone
    from jobs.output import Show

    choices = Choices(keys=keys, keys_from=keys_from, match=match, where=where, restore_metadata=restore_metadata)
    if is_file(source):
        if address is not None:
            raise UsageError(f"{source} is one thumbnail, which needs no Ray: leave --address out")
        _refuse_choices(source, choices)
        made = regrow_alone(source, destination, picture_format, quality, weights=weights or ())
        return _tell(made, Show(json=json, quiet=quiet))
    from jobs.requests import ReconstructRequest
    from jobs.running import perform

    request = ReconstructRequest(
        archive=source, destination=destination, keys=_keys(choices), keys_from=_place(choices), match=match,
        where=where, format=picture_format or "png", quality=quality, metadata=restore_metadata,
        weights=tuple(weights or ()), address=address,
    )  # fmt: skip
    if dry_run:
        from jobs.estimating import dry_run_of

        return dry_run_of(request, json=json)
    return perform(request, Show(command=context.obj, json=json, quiet=quiet))


def _refuse_choices(source: str, choices: Choices) -> None:
    given = choices.first_given()
    if given:
        raise UsageError(f"{source} is one thumbnail, and {given} chooses among the images of an archive: leave it out")


def _tell(made: "Regrown", show: "Show") -> int:
    from jobs.output import write_facts, write_json, write_lines
    from jobs.words import kind_words, size_words

    if show.json:
        write_json(made)
    elif not show.quiet:
        write_lines([made.picture])
        size = f"{made.width} x {made.height}, {size_words(made.picture_bytes)}"
        write_facts(
            [
                ("size", size),
                ("codec", f"{made.codec}, {kind_words(generative=made.generative, untrained=made.untrained)}"),
            ]
        )
    return 0


def _keys(choices: Choices) -> list[str] | None:
    """Return the keys that were typed, and those that are piped in."""
    from ops.key_lists import keys_in

    if choices.keys_from != "-":
        return choices.keys or None
    try:
        piped = keys_in(sys.stdin.buffer.read())
    except ValueError as error:
        raise InputError(f"- {error}: write one key a line, as `regrow ls` does") from error
    if not (found := [*(choices.keys or []), *piped]):
        raise InputError("- names no key: write one a line, as `regrow ls` does")
    return found


def _place(choices: Choices) -> str | None:
    """Return the file or the folder in which keys are asked for, if any."""
    if choices.keys_from == "":
        raise UsageError("--keys-from is empty: name a file, a folder, or - for what is piped in")
    return None if choices.keys_from == "-" else choices.keys_from
