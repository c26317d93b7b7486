"""What an archive is: codec, totals, bytes, generations, and what is still to do."""

import shlex
from typing import Any

from msgspec import Struct

from jobs.output import write_facts, write_lines, write_table
from jobs.words import count, failure_words, kind_words, megapixels, percent, size_words
from ops.archive.catalog import Totals
from ops.archive.escrowed_weights import WeightsRecord, read_record
from ops.archive.layout import ArchiveError, Location, locate, read_document
from ops.archive.parts import finished_parts
from ops.archive.plan import Plan, read_plan
from ops.archive.seals import Seal, open_generation

# Each costs a request; an archive that grows every night has hundreds.
_GENERATIONS = 20


class Bytes(Struct, frozen=True, kw_only=True):
    """Bytes of a kind, and what they are per pixel of the originals, in bits."""

    num_bytes: int
    bits_per_pixel: float | None


class Generation(Struct, frozen=True, kw_only=True):
    """One plan: first, growth or retry."""

    generation: int
    kind: str
    source: str
    images: int
    skipped: dict[str, int]
    notes: list[str]


class Unfinished(Struct, frozen=True, kw_only=True):
    """A plan that is not sealed: chunks done, and the command that finishes it."""

    generation: int
    kind: str
    chunks_done: int
    chunks: int
    images: int
    command: str


class Info(Struct, frozen=True, kw_only=True):
    """What `info` says. `thumbnails` are the current ones alone; `packs` also hold facts and superseded rows.

    `generations` are the newest 20.
    """

    archive: str
    codec: str
    codec_digest: str
    generative: bool
    notes: str
    made_by: str
    sealed: bool
    generations: list[Generation]
    unfinished: Unfinished | None
    totals: Totals | None = None
    thumbnails: Bytes | None = None
    alpha: Bytes | None = None
    packs: Bytes | None = None
    num_packs: int = 0
    catalog: Bytes | None = None
    whole: Bytes | None = None
    escrow_bytes: int = 0
    weights: WeightsRecord | None = None
    untrained: bool = False


def read_info(url: str) -> Info:
    """Return what an archive is, sealed or not. Raises ArchiveError where there is none."""
    location = locate(url)
    document = read_document(location)
    if document is None:
        raise ArchiveError(
            f"{url} is no archive (it has no archive.json): check the path, or make it with `regrow archive`"
        )
    plan, seal = open_generation(location)
    return Info(
        archive=location.url,
        codec=document.codec_name,
        codec_digest=document.codec_digest,
        generative=document.generative,
        notes=document.notes,
        made_by=document.made_by,
        sealed=seal is not None,
        generations=_generations(location, seal),
        unfinished=_unfinished(location, plan),
        escrow_bytes=escrow_bytes(location),
        weights=read_record(location),
        untrained=document.untrained,
        **(_sizes(seal) if seal else {}),
    )


def escrow_bytes(location: Location) -> int:
    """Return the bytes of what travels with an archive so that it can be regrown."""
    return sum(stored.size for stored in location.store.walk(location.at("codec")))


def write_info(info: Info) -> None:
    """Write it for people."""
    kind = kind_words(generative=info.generative, untrained=info.untrained)
    write_lines([info.archive])
    facts = [("codec", f"{info.codec}, {kind}"), ("digest", info.codec_digest), ("made by", info.made_by)]
    facts += _weights_facts(info)
    if info.totals:
        facts += _total_facts(info.totals)
    write_facts(facts)
    if info.totals and info.totals.pixels:
        write_lines([""])
        write_table(("", "bytes", "of source", "bits/pixel"), _size_rows(info, info.totals), (1, 2, 3))
    if len(info.generations) > 1 or any(one.notes for one in info.generations):
        write_lines(["", *_generation_lines(info.generations)])
    _write_unfinished(info)


def _weights_facts(info: Info) -> list[tuple[str, str]]:
    """Return what runs in the codec, under which licence, and whether it is in the archive."""
    weights = info.weights
    if weights is None:
        return []
    kept = "in the archive" if weights.file else "not in the archive, which names them by their digest"
    return [("weights", f"{size_words(weights.size_bytes)}, {kept}; licence: {weights.licence}")]


def _total_facts(totals: Totals) -> list[tuple[str, str]]:
    failed = sum(totals.failures.values())
    failures = f"{failed:,} ({failure_words(totals.failures)})" if failed else "none"
    extent = f"{totals.num_good:,}, {megapixels(totals.pixels)}, {size_words(totals.source_bytes)} at the source"
    return [("images", extent), ("failures", failures)]


def _size_rows(info: Info, totals: Totals) -> list[tuple[str, str, str, str]]:
    packs = "pack" if info.num_packs == 1 else f"{info.num_packs:,} packs"
    named = [("thumbnails alone", info.thumbnails), ("alpha planes", info.alpha), (packs, info.packs)]
    named += [("catalog", info.catalog), ("packs and catalog", info.whole)]
    rows = [
        (f"  {name}", f"{size.num_bytes:,}", percent(size.num_bytes, totals.source_bytes), f"{size.bits_per_pixel:.4f}")
        for name, size in named
        if size is not None and size.num_bytes
    ]
    # The same for one image or a million, so that a share or bits per pixel of it would say nothing.
    return [*rows, ("  escrow of the codec", f"{info.escrow_bytes:,}", "", "")] if info.escrow_bytes else rows


def _generation_lines(generations: list[Generation]) -> list[str]:
    older = generations[0].generation
    lines = [f"  not shown: {count(older, 'older generation')}"] if older else []
    for one in generations:
        origin = one.source if one.kind == "retry" else f"{one.kind}, from {one.source}"
        lines.append(f"  generation {one.generation}  {count(one.images, 'image')}, {origin}")
        lines += [f"    {note}" for note in one.notes]
    return lines


def _write_unfinished(info: Info) -> None:
    left = info.unfinished
    if left:
        state = "not sealed yet" if not info.sealed else f"generation {left.generation} is not sealed yet"
        done = f"{left.chunks_done:,} of {count(left.chunks, 'chunk')} done ({count(left.images, 'image')} planned)"
        write_lines(["", f"  {state}: {done}. To finish:", f"    {left.command}"])
    elif not info.sealed:
        write_lines(
            ["", "  nothing is planned yet; to go on:", f"    regrow archive SOURCE {shlex.quote(info.archive)}"]
        )


def _generations(location: Location, seal: Seal | None) -> list[Generation]:
    if seal is None:
        return []
    numbers = range(max(0, seal.number + 1 - _GENERATIONS), seal.number + 1)
    plans = [plan for plan in (read_plan(location, number) for number in numbers) if plan]
    return [
        Generation(
            generation=plan.generation, kind=plan.kind, source=plan.source, images=plan.num_images,
            skipped=plan.skipped, notes=plan.notes,
        )
        for plan in plans
    ]  # fmt: skip


def _unfinished(location: Location, plan: Plan | None) -> Unfinished | None:
    if plan is None:
        return None
    done = finished_parts(location, plan.generation).num_rows
    names = ["retry", location.url] if plan.kind == "retry" else ["archive", plan.source, location.url]
    if done == plan.num_chunks:
        names = ["seal", location.url]
    return Unfinished(
        generation=plan.generation, kind=plan.kind, chunks_done=done, chunks=plan.num_chunks, images=plan.num_images,
        command=shlex.join(["regrow", *names]),
    )  # fmt: skip


def _sizes(seal: Seal) -> dict[str, Any]:
    totals = seal.totals
    packs, catalog = sum(pack.num_bytes for pack in seal.packs), sum(file.num_bytes for file in seal.catalog)

    def of(num_bytes: int) -> Bytes:
        return Bytes(num_bytes=num_bytes, bits_per_pixel=8 * num_bytes / totals.pixels if totals.pixels else None)

    return {
        "totals": totals,
        "thumbnails": of(totals.thumbnail_bytes),
        "alpha": of(totals.alpha_bytes),
        "packs": of(packs),
        "num_packs": len(seal.packs),
        "catalog": of(catalog),
        "whole": of(packs + catalog),
    }
