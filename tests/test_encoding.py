"""From encoded bytes to rows: facts, failures, careful mode, and the same bytes however it is run."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from ops import careful, encoding, thumbnails
from ops.archive import attempts
from ops.archive.layout import ArchiveError, Location, Reading
from ops.archive.plan import Chunk
from ops.archive.rows import ImageRow
from ops.careful import decode_apart
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.encoding import ChunkEncoder
from ops.images import Failure, FailureCode
from ops.readers.base import Entry
from ops.thumbnails import decode_plane
from pipelines.encode import ArchiveTask, EncodeChunk
from tests import makers

RUN = "a run"
CHUNK = "00000-00000000-0123456789abcdef"


def encoder(codec: str = "bicubic-x4", reading: Reading | None = None, **runtime: int) -> ChunkEncoder:
    settings = Runtime(**runtime)  # type: ignore[arg-type]
    return ChunkEncoder(codec_from(codec).load(settings), reading or Reading(), settings)


def chunk_of(contents: list[bytes | Failure]) -> Chunk:
    entries = [
        Entry(key=f"{index}", uri=f"file:///x/{index}", size=99 if isinstance(content, Failure) else len(content))
        for index, content in enumerate(contents)
    ]
    return Chunk(id=CHUNK, ordinal=0, entries=entries)


def rows_of(contents: list[bytes | Failure], **options: object) -> list[ImageRow]:
    return encoder(**options).rows(chunk_of(contents), contents, generation=3)  # type: ignore[arg-type]


def mixed() -> list[bytes | Failure]:
    """Images of several sizes and formats, two failures, and alpha."""
    return [
        makers.encode(makers.photo(200, 150, seed=1), "JPEG"),
        b"",
        makers.encode(makers.photo(33, 77, 4, seed=2)),
        Failure(FailureCode.VANISHED, "file:///x/3 is no longer there"),
        makers.encode(makers.noise(120, 90, seed=3), "WEBP"),
        makers.encode(makers.photo(64, 64, 1, seed=4), "TIFF"),
    ]


def test_each_image_gets_a_row_in_order_with_its_facts() -> None:
    contents = mixed()
    rows = rows_of(contents)
    assert [row.key for row in rows] == list("012345")
    assert [row.status for row in rows] == ["ok", "empty", "ok", "vanished", "ok", "ok"]
    assert [(row.width, row.height) for row in rows] == [
        (200, 150), (None, None), (33, 77), (None, None), (120, 90), (64, 64),
    ]  # fmt: skip
    assert [row.format for row in rows] == ["JPEG", None, "PNG", None, "WEBP", "TIFF"]
    assert {row.generation for row in rows} == {3}
    first = rows[0]
    assert isinstance(contents[0], bytes)
    assert first.source_sha256 == hashlib.sha256(contents[0]).hexdigest()
    assert first.thumbnail is not None
    assert first.thumbnail_sha256 == hashlib.sha256(first.thumbnail).hexdigest()
    assert rows[3].message == "file:///x/3 is no longer there"
    assert rows[3].source_bytes == 99


def test_alpha_is_kept_beside_the_thumbnail() -> None:
    row = rows_of([makers.encode(makers.photo(40, 30, 4, seed=2))])[0]
    assert row.alpha is not None
    assert np.array_equal(decode_plane(row.alpha), makers.photo(40, 30, 4, seed=2)[..., 3])
    assert rows_of([makers.encode(makers.photo(40, 30))])[0].alpha is None


@pytest.mark.parametrize("codec", ["bicubic-x4", "jpeg-q50", "webp-q50-x2"])
@pytest.mark.parametrize("runtime", [{"threads": 2}, {"threads": 4, "pixel_budget": 1}, {"pixel_budget": 40_000}])
def test_threads_and_budgets_change_no_byte(codec: str, runtime: dict[str, int]) -> None:
    assert rows_of(mixed(), codec=codec, **runtime) == rows_of(mixed(), codec=codec)


def test_an_image_is_encoded_the_same_alone_and_in_company() -> None:
    alone = [rows_of([content])[0].thumbnail for content in mixed()]
    assert alone == [row.thumbnail for row in rows_of(mixed(), threads=2)]


def test_limits_of_the_archive_hold() -> None:
    picture = makers.encode(makers.photo(100, 80), "PNG")
    for reading, said in (
        (Reading(max_pixels=7_999), "100x80 is 8,000 pixels, the limit is 7,999"),
        (Reading(max_side=99), "the limit is 99 per side"),
        (Reading(max_encoded_bytes=10), "the limit is 10"),
    ):
        row = rows_of([picture], reading=reading)[0]
        assert row.status == "too_large"
        assert said in (row.message or "")
    assert rows_of([picture], reading=Reading(max_pixels=8_000, max_side=100))[0].status == "ok"


def test_metadata_is_kept_by_the_archive_s_policy() -> None:
    exif = makers.exif(1, gps=True, make="Acme")
    picture = makers.encode(makers.photo(), "JPEG", exif=exif)
    kept, blurred, bare = (
        rows_of([picture], reading=Reading(metadata=policy))[0] for policy in ("keep", "no-location", "none")
    )
    assert b"Acme" in (kept.exif or b"")
    assert bare.exif is None
    assert kept.thumbnail == blurred.thumbnail == bare.thumbnail


def test_careful_mode_gives_the_same_thumbnails(tmp_path: Path) -> None:
    contents = mixed()
    location = Location(str(tmp_path))
    attempts.begin(location, CHUNK, RUN)
    careful = encoder().careful_rows(chunk_of(contents), contents, 3, attempts.begin(location, CHUNK, RUN))
    plain = rows_of(contents)
    assert {row.attempts for row in careful} == {2}
    for row in plain:
        row.attempts = 2
    assert careful == plain
    assert attempts.begin(location, CHUNK, RUN).suspects == {}


def careful_row(tmp_path: Path, content: bytes) -> ImageRow:
    attempts.begin(Location(str(tmp_path)), CHUNK, RUN)
    attempt = attempts.begin(Location(str(tmp_path)), CHUNK, RUN)
    neighbour = makers.encode(makers.photo(20, 20))
    rows = encoder().careful_rows(chunk_of([content, neighbour]), [content, neighbour], 0, attempt)
    return rows[0]


def test_careful_mode_ends_a_decoder_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CAREFUL_SECONDS", 0.05)  # Python itself takes longer to start
    monkeypatch.setattr(encoding, "CAREFUL_SECONDS_PER_MEGAPIXEL", 0.0)
    row = careful_row(tmp_path, makers.encode(makers.photo(20, 20)))
    assert row.status == "timed_out"
    assert "took longer than 0.05 s" in (row.message or "")


def test_careful_mode_refuses_a_decoder_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = lambda *given, **asked: decode_apart(*given, **{**asked, "memory_bytes": 24 << 20})  # noqa: E731
    monkeypatch.setattr(encoding, "decode_apart", little)
    row = careful_row(tmp_path, makers.encode(makers.photo(4000, 4000)))
    assert row.status == "out_of_memory"
    assert "allow more memory" in (row.message or "")


def test_no_memory_for_an_image_is_its_failure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(content: bytes, **settings: object) -> None:
        raise MemoryError

    monkeypatch.setattr(encoding, "decode", none_left)
    row = rows_of([makers.encode(makers.photo(2000, 1000))])[0]
    assert (row.status, row.message) == ("out_of_memory", "no memory for 2 megapixels; retry with more")


def test_an_image_that_decoder_or_codec_raises_over_is_its_failure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    save = thumbnails.save_image

    def upset(image: Image.Image, *given: str, **options: object) -> bytes:
        if image.width == 10:
            raise KeyError("a table of the codec")
        if image.width == 20:
            raise MemoryError
        return save(image, *given, **options)

    monkeypatch.setattr(thumbnails, "save_image", upset)
    contents: list[bytes | Failure] = [makers.encode(makers.photo(width, 80)) for width in (40, 80, 120)]
    rows = rows_of(contents)
    assert [row.status for row in rows] == ["refused", "out_of_memory", "ok"]
    assert "KeyError: 'a table of the codec'" in (rows[0].message or "")
    assert rows[0].format == "PNG"


class Upset:
    """A codec that raises whatever it is given."""

    generative = False

    def __init__(self, said: str = "broken", *, concurrent: bool = True) -> None:
        self.said, self.concurrent = said, concurrent

    def encode(self, images: list[np.ndarray]) -> list[Failure]:
        raise RuntimeError(f"{self.said} over {len(images)}\nline two")


def test_a_codec_that_raises_over_an_image_ends_no_chunk() -> None:
    chunk, content = chunk_of([makers.encode(makers.photo())]), makers.encode(makers.photo())
    row = ChunkEncoder(Upset(concurrent=True), Reading(), Runtime()).rows(chunk, [content], 0)[0]  # type: ignore[arg-type]
    assert row.status == "refused"
    assert row.message == "the codec failed with RuntimeError: broken over 1 line two; use another codec"


def test_a_device_that_is_broken_ends_the_run_and_fails_no_image() -> None:
    chunk, content = chunk_of([makers.encode(makers.photo())]), makers.encode(makers.photo())
    broken = Upset("CUDA error: unspecified launch failure", concurrent=False)
    with pytest.raises(
        ArchiveError, match=r"the device failed over '0' \(CUDA error: unspecified launch failure over 1"
    ):
        ChunkEncoder(broken, Reading(), Runtime()).rows(chunk, [content], 0)  # type: ignore[arg-type]


def test_an_image_that_memory_does_not_hold_for_each_worker_is_worked_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    monkeypatch.setattr(encoding, "alone_if", lambda large: (held.append(large), contextlib.nullcontext())[1])
    pictures = [makers.encode(makers.photo(20, 20)), makers.encode(makers.photo(40, 40))]
    chunk = chunk_of(pictures)
    codec = codec_from("bicubic-x4").load(Runtime())
    ChunkEncoder(codec, Reading(), Runtime(pixel_budget=500, large_pixels=1000)).rows(chunk, pictures, 0)
    assert held == [False, True]


def test_a_machine_that_cannot_decode_apart_fails_the_run_and_blames_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path / "archive"))
    monkeypatch.setattr(careful, "_environment", lambda: {**os.environ, "PYTHONHOME": "/nowhere"})
    contents: list[bytes | Failure] = [makers.encode(makers.photo(20, 20))]
    attempts.begin(location, CHUNK, RUN)
    for _ in range(3):
        attempt = attempts.begin(location, CHUNK, RUN)
        with pytest.raises(ArchiveError, match=r"decodes apart ended with exit status 1 \(.*\): see that"):
            encoder().careful_rows(chunk_of(contents), contents, 0, attempt)
    assert attempts.begin(location, CHUNK, RUN).suspects == {}


def test_convicted_images_are_not_touched_again(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    attempts.begin(location, CHUNK, RUN)
    for _ in range(2):
        attempts.begin(location, CHUNK, RUN).take_in_hand(0)
    contents: list[bytes | Failure] = [makers.encode(makers.photo(20, 20)), makers.encode(makers.photo(24, 20))]
    rows = encoder().careful_rows(chunk_of(contents), contents, 0, attempts.begin(location, CHUNK, RUN))
    assert [row.status for row in rows] == ["killed_worker", "ok"]
    assert "(3 deaths)" in (rows[0].message or "")
    assert rows[0].source_sha256 is not None


def test_a_worker_of_another_version_than_its_driver_refuses_to_encode(tmp_path: Path) -> None:
    codec = codec_from("bicubic-x4")
    task = ArchiveTask(
        location=Location(str(tmp_path)), run=RUN, generation=0, plan_digest="", codec=codec, codec_digest="0" * 64,
        reading=Reading(),
    )  # fmt: skip
    with pytest.raises(ArchiveError, match=r"bicubic-x4 with digest .*driver's with 000000000000: install one version"):
        EncodeChunk(task, Runtime())
    EncodeChunk(replace(task, codec_digest=codec.digest()), Runtime())
