"""One image of an archive: its thumbnail in the terminal or in a file, and what is kept of it."""

from msgspec import Struct
from rich.console import Console

from jobs.errors import InputError
from jobs.half_blocks import draw
from jobs.tile_words import timestep_lines
from jobs.words import kind_words, megapixels, percent, size_words
from ops.archive.reading import Archive, CatalogRow
from ops.codecs.tile_facts import read_facts
from ops.looking import nearest_keys
from ops.stores import absolute, open_store
from ops.stores.routing import check_named
from ops.thumbnails import decode_thumbnail

# What is left to the facts below the picture, and to the prompt.
_LINES_BELOW = 16


class Facts(Struct, frozen=True, kw_only=True):
    """What is kept of one image. Bytes and sizes (pixels) are of the source image where nothing else is said."""

    key: str
    status: str
    message: str | None
    generation: int
    width: int | None
    height: int | None
    format: str | None
    mode: str | None
    bit_depth: int | None
    source_bytes: int
    source_sha256: str | None
    uri: str
    codec: str
    generative: bool
    media_type: str | None
    thumbnail_bytes: int | None
    thumbnail_sha256: str | None
    alpha_bytes: int
    bits_per_pixel: float | None
    choices: list[str]
    untrained: bool = False
    predicted_timesteps: list[list[float]] | None = None
    latent_errors: list[list[float]] | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Return the facts for people."""
        if self.width is None or self.height is None or self.thumbnail_bytes is None:
            return [("key", self.key), ("failed", f"{self.status}: {self.message}"), ("source", self.uri)]
        kind = kind_words(generative=self.generative, untrained=self.untrained)
        size = f"{self.width} x {self.height}, {megapixels(self.width * self.height)}"
        depth = f", {self.bit_depth} bit" if self.bit_depth else ""
        kept = f"{self.media_type}, {size_words(self.thumbnail_bytes)}"
        share = percent(self.thumbnail_bytes, self.source_bytes)
        lines = [
            ("key", self.key),
            ("size", size),
            ("source", f"{self.format} {self.mode}{depth}, {size_words(self.source_bytes)}"),
            ("thumbnail", f"{kept}, {share} of the source, {self.bits_per_pixel:.4f} bits per pixel"),
            ("codec", f"{self.codec}, {kind}"),
        ]
        if self.predicted_timesteps is not None and self.latent_errors is not None:
            lines += timestep_lines(self.predicted_timesteps, self.latent_errors, untrained=self.untrained)
        if self.alpha_bytes:
            lines.append(("alpha", size_words(self.alpha_bytes)))
        return lines + [("choice", choice) for choice in self.choices]


def find(archive: Archive, key: str) -> CatalogRow:
    """Return the row of a key. Raises InputError that names the nearest keys."""
    row = archive.find(key)
    if row is None:
        near = nearest_keys(archive, key)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`regrow ls` lists the keys"
        raise InputError(f"{archive.location.url} has no key {key!r}: {hint}")
    return row


def facts_of(archive: Archive, row: CatalogRow) -> Facts:
    """Return what is kept of an image."""
    kept, good = archive.facts(row), row.length is not None
    tiles = read_facts(kept.extras)
    pixels = (row.width or 0) * (row.height or 0)
    return Facts(
        key=row.key, status=row.status, message=kept.message, generation=row.generation, width=row.width,
        height=row.height, format=row.format, mode=kept.mode, bit_depth=kept.bit_depth, source_bytes=row.source_bytes,
        source_sha256=kept.source_sha256, uri=kept.uri, codec=archive.document.codec_name,
        generative=archive.document.generative, untrained=archive.document.untrained,
        media_type=row.media_type, thumbnail_bytes=row.length,
        thumbnail_sha256=row.sha256, alpha_bytes=row.alpha_bytes, choices=kept.choices,
        bits_per_pixel=8 * (row.length or 0) / pixels if good and pixels else None,
        predicted_timesteps=tiles.timestep_map().tolist() if tiles else None,
        latent_errors=tiles.error_map().tolist() if tiles else None,
    )  # fmt: skip


def write_thumbnail(archive: Archive, row: CatalogRow, to: str) -> None:
    """Write a thumbnail's exact bytes to a new file. Raises InputError where something is there."""
    check_named(to, "--to")
    url = absolute(to)
    content = archive.thumbnail(row)
    if not open_store(url).put_new(url, content):
        raise InputError(f"{url} is there already and is never overwritten: name another file")


def draw_here(archive: Archive, row: CatalogRow) -> None:
    """Draw a thumbnail where stdout is a terminal that knows colours."""
    console = Console(highlight=False)
    if not row.good or not console.is_terminal or console.color_system in (None, "standard"):
        return
    lines = max(console.height - _LINES_BELOW, 8)
    console.print(draw(decode_thumbnail(archive.thumbnail(row)), console.width, lines))
