"""The phases of a simulated archive, each a child of its own: plan, resume, seal, grow."""

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.children import peak_bytes

CODEC = "bicubic-x16"
SIZE = (4000, 3000)
ARCHIVE = "s3://archive/2024.regrow"
GROWTH = 0.01
DONE = 0.9
# Beside its thumbnails a part holds some 150 bytes of facts a row, and a footer.
FACT_BYTES, FOOTER_BYTES = 150, 8_000


def photograph(number: int) -> dict[str, Any]:
    """Return the mean bytes of photographs of 12 megapixels and of their thumbnails (a child)."""
    import numpy as np  # noqa: PLC0415

    from bench.photographs import QUALITY, load_samples, mosaic  # noqa: PLC0415
    from ops.codecs.base import Payload, Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415

    codec, samples = codec_from(CODEC).load(Runtime()), load_samples()
    image_bytes = thumbnail_bytes = 0
    for seed in range(number):
        image, written = mosaic(samples, SIZE, seed), io.BytesIO()
        image.save(written, "JPEG", quality=QUALITY)
        payload = codec.encode([np.asarray(image)])[0]
        assert isinstance(payload, Payload)
        image_bytes += len(written.getvalue())
        thumbnail_bytes += len(payload.thumbnail)
    return {"image_bytes": image_bytes // number, "thumbnail_bytes": thumbnail_bytes // number}


def nothing(**given: Any) -> dict[str, Any]:
    """Return the memory of a process that has only imported what the others do (a child)."""
    return measured(time.monotonic(), open_wire(given).calls)


def plan(**given: Any) -> dict[str, Any]:
    """List the source and plan it (a child)."""
    from bench.synthetic import new_target  # noqa: PLC0415
    from pipelines.planning import plan_first  # noqa: PLC0415

    wire, begun = open_wire(given), time.monotonic()
    target, request = new_target("s3://source", ARCHIVE, CODEC)
    made = plan_first(target, request)
    answer = measured(begun, wire.calls)
    write_ids(Path(given["root"]))
    return {**answer, "num_chunks": made.num_chunks, "num_images": made.num_images, "num_bytes": made.num_bytes}


def write_ids(root: Path) -> None:
    """Write down the chunks' ids for the wire, which is to hold none of them in memory."""
    from ops.archive.layout import locate  # noqa: PLC0415
    from ops.archive.plan import read_index, read_plan  # noqa: PLC0415

    location = locate(ARCHIVE)
    made = read_plan(location, 0)
    assert made
    with (root / "ids").open("wb") as file:
        for ids in read_index(location, made)["chunk_id"].chunks:
            file.write("".join(ids.to_pylist()).encode())


def resume(**given: Any) -> dict[str, Any]:
    """Find out what is still to be done when nine tenths of the parts are there (a child)."""
    from ops.archive.layout import locate  # noqa: PLC0415
    from ops.archive.plan import read_index  # noqa: PLC0415
    from ops.archive.seals import open_generation  # noqa: PLC0415
    from pipelines.archive import _without_parts  # noqa: PLC0415

    wire, begun = open_wire(given, DONE), time.monotonic()
    location = locate(ARCHIVE)
    found, _ = open_generation(location)
    assert found
    remaining = _without_parts(read_index(location, found), location, found)
    return {**measured(begun, wire.calls), "num_remaining": remaining.num_rows}


def seal(**given: Any) -> dict[str, Any]:
    """Write catalog and seal, and sweep parts and attempts (a child)."""
    from bench.catalogs import PretendedPacks  # noqa: PLC0415
    from ops.archive.layout import locate  # noqa: PLC0415
    from ops.archive.seals import open_generation, seal_generation  # noqa: PLC0415

    wire, begun = open_wire(given, 1.0), time.monotonic()
    location = locate(ARCHIVE)
    found, _ = open_generation(location)
    assert found
    folder = Path(given["root"]) / "2024.regrow" / "plan" / "00000"
    sealed = seal_generation(location, found, PretendedPacks(folder, found, given["thumbnail_bytes"], SIZE))
    if sealed.totals.num_images != given["num_images"]:
        raise RuntimeError(f"{sealed.totals.num_images} images were sealed of {given['num_images']}")
    return {**measured(begun, wire.calls), "num_packs": len(sealed.packs), "num_catalog": len(sealed.catalog)}


def grow(**given: Any) -> dict[str, Any]:
    """Plan what is new when the source has grown by a hundredth (a child)."""
    from bench.synthetic import new_target  # noqa: PLC0415
    from ops.archive.layout import locate  # noqa: PLC0415
    from ops.archive.seals import highest_seal  # noqa: PLC0415
    from pipelines.planning import plan_growth  # noqa: PLC0415

    num_new = int(given["num_images"] * GROWTH)
    wire, begun = open_wire({**given, "num_images": given["num_images"] + num_new}), time.monotonic()
    target, request = new_target("s3://source", ARCHIVE, CODEC)
    made = plan_growth(target._replace(seal=highest_seal(locate(ARCHIVE))), request)
    if made.num_images != num_new:
        raise RuntimeError(f"{num_new} images are new, {made.num_images} were planned")
    return measured(begun, wire.calls)


def open_wire(given: dict[str, Any], share: float = 0) -> Any:
    """Put the wire of a simulation below this process's store; the first `share` of parts and attempts stand there."""
    from bench.wire import Wire  # noqa: PLC0415

    num_chunk = max(1, min(64, (64 << 20) // given["image_bytes"]))
    part_bytes = num_chunk * (given["thumbnail_bytes"] + FACT_BYTES) + FOOTER_BYTES
    root = Path(given["root"])
    return Wire(root, given["num_images"], given["image_bytes"], part_bytes=part_bytes, share=share).install()


def measured(begun: float, calls: Mapping[str, int]) -> dict[str, Any]:
    """Return what a phase took that has begun at a time, and what it asked of the store.

    `cpu` are seconds of processors, those of the imports among them: on a busy machine the better measure.
    """
    return {
        "seconds": time.monotonic() - begun, "cpu": time.process_time(), "rss": peak_bytes(), "calls": dict(calls)
    }  # fmt: skip
