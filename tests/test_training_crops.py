"""The photographs and crops of training: what is drawn depends on nothing but the seed and the counters."""

import hashlib
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ops.probing import HEAD_BYTES
from ops.training.ahead import Ahead
from ops.training.crops import ATTEMPTS, Crops, cut
from ops.training.draws import generator, normal, uniform
from ops.training.errors import TrainingError
from ops.training.photographs import FrozenPhotographs, TrainingDataError, TrainingPhotograph, freeze
from ops.training.settings import CropSettings, Photographs
from tests.makers import encode, exif, noise, photo
from tests.makers_sources import make_folder, parquet_bytes, tar_bytes, zip_bytes

SIDE = 64
GOLDEN = [3707949585, 50992286, 1900673312]
VARIED = CropSettings(side=SIDE, scales=(0.4, 1.0), flips=True, turns=True)
PLAIN = CropSettings(side=SIDE, flips=False)


def pictures(number: int = 5) -> dict[str, bytes]:
    """Photographs of different sizes, none of which looks like another."""
    return {
        f"set{at % 2}/{at}.png": encode(noise(100 + 30 * at, 180 - 20 * at, seed=at)) for at in range(number)
    }  # fmt: skip


def frozen(folder: Path, files: Mapping[str, bytes] | None = None, group: str = "") -> FrozenPhotographs:
    make_folder(folder, pictures() if files is None else files)
    return freeze(Photographs(sources=(str(folder),), group=group), SIDE)


def test_chance_is_the_same_on_every_machine_and_different_for_whatever_it_is_for():
    assert generator(3042, 0, 7, purpose="crop").integers(1 << 32, size=3).tolist() == GOLDEN
    assert generator(np.int64(3042), 0, np.uint8(7), purpose="crop").integers(1 << 32, size=3).tolist() == GOLDEN
    asked = [(1, 23), (12, 3), (1, 2, 3), (123,), (-1,), (1 << 70,), (0,), (0, 0)]
    first = {generator(*counters, purpose=purpose).random() for counters in asked for purpose in ("a", "b")}
    assert len(first) == 2 * len(asked)
    z, u = normal((100, 1000), 1, 2, purpose="noise"), uniform((100_000,), 1, 2, purpose="share")
    assert z.dtype == u.dtype == np.float32
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_crop_is_the_same_alone_in_any_batch_and_after_any_steps(shared: FrozenPhotographs, data: st.DataObject):
    counter = st.integers(0, 1 << 40)
    stage, step, seed = data.draw(counter), data.draw(counter), data.draw(counter)
    indices = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    used = Crops(shared, VARIED, seed, cache_megapixels=1)
    used.batch(stage, step + 1, range(4))
    batch = used.batch(stage, step, indices)
    assert batch.shape == (len(indices), SIDE, SIDE, 3)
    for place, index in enumerate(indices):
        assert np.array_equal(batch[place], Crops(shared, VARIED, seed).batch(stage, step, [index])[0])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> FrozenPhotographs:
    return frozen(tmp_path_factory.mktemp("photographs"))


def test_another_process_that_resumes_from_the_saved_list_draws_the_same_crops(tmp_path: Path):
    listed = frozen(tmp_path / "photographs", group=r"^(set\d)")
    listed.save(tmp_path / "photographs.json")
    here = [Crops(listed, VARIED, 5).batch(1, step, range(3)) for step in range(4)]
    script = f"""
import hashlib, pathlib
from ops.training.crops import Crops
from ops.training.photographs import FrozenPhotographs
from ops.training.settings import CropSettings
crops = Crops(FrozenPhotographs.load(pathlib.Path({str(tmp_path / "photographs.json")!r})),
              CropSettings(side={SIDE}, scales=(0.4, 1.0), flips=True, turns=True), 5)
for step in (2, 3):
    print(hashlib.sha256(crops.batch(1, step, range(3)).tobytes()).hexdigest())
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert out == [hashlib.sha256(batch.tobytes()).hexdigest() for batch in here[2:]]


def test_seed_stage_step_and_index_each_make_another_crop(shared: FrozenPhotographs):
    one = Crops(shared, VARIED, 1).batch(0, 0, [0])
    others = [(1, 1, 0, 0), (2, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    assert all(
        not np.array_equal(one, Crops(shared, VARIED, seed).batch(stage, step, [index]))
        for seed, stage, step, index in others
    )


def test_groups_are_drawn_evenly_whatever_number_of_photographs_they_have(tmp_path: Path):
    levels = {f"few/{at}.png": at for at in range(2)} | {f"many/{at}.png": 10 + at for at in range(8)}
    files = {name: encode(np.full((SIDE, SIDE, 3), level, np.uint8)) for name, level in levels.items()}
    drawn = Crops(frozen(tmp_path, files, group="^([^/]+)/"), PLAIN, 0).batch(0, 0, range(4000))[:, 0, 0, 0]
    seen = Counter(drawn.tolist())
    assert set(seen) == set(levels.values())
    few, many = seen[0] + seen[1], sum(seen[10 + at] for at in range(8))
    assert abs(few - many) < 400  # six standard deviations
    assert all(abs(seen[at] - 1000) < 170 for at in range(2))
    assert all(abs(seen[10 + at] - 250) < 95 for at in range(8))


def test_all_places_scales_mirrors_and_turns_occur(tmp_path: Path):
    ramp = np.zeros((150, 260, 3), np.uint8)
    ramp[:, :, 0], ramp[:, :, 1] = np.arange(260)[None] // 2, np.arange(150)[:, None]
    listed = frozen(tmp_path, {"a.png": encode(ramp)})
    plain = Crops(listed, PLAIN, 0).batch(0, 0, range(3000))
    assert {crop[0, 0, 1] for crop in plain} == set(range(150 - SIDE + 1))
    assert {crop[0, 0, 0] for crop in plain} == {left // 2 for left in range(260 - SIDE + 1)}
    assert all(
        np.array_equal(crop[:, :, 1] - crop[0, 0, 1], np.arange(SIDE)[:, None] + 0 * crop[:, :, 1]) for crop in plain
    )
    varied = Crops(listed, VARIED, 0).batch(0, 0, range(400)).astype(int)
    slopes = {(np.sign(crop[-1, 0, 1] - crop[0, 0, 1]), np.sign(crop[0, -1, 1] - crop[0, 0, 1])) for crop in varied}
    assert slopes == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    heights = [max(abs(crop[-1, 0, 1] - crop[0, 0, 1]), abs(crop[0, -1, 1] - crop[0, 0, 1])) for crop in varied]
    # From the crop's own side to the photograph's: 0.4 would need 160 of its 150 rows.
    assert min(heights) <= 66
    assert 140 <= max(heights) <= 149


def test_a_shrunk_crop_is_that_part_of_the_shrunk_photograph():
    whole = photo(300, 240, seed=3)
    shrunk = np.asarray(Image.fromarray(whole).resize((150, 120), Image.Resampling.LANCZOS))
    assert np.abs(cut(whole, 40, 60, 128, 64).astype(int) - shrunk[30:94, 20:84]).max() <= 1
    assert np.array_equal(cut(whole, 300 - 128, 240 - 128, 128, 64)[-1, -1], shrunk[-1, -1])
    assert np.array_equal(cut(whole, 7, 9, 64, 64), whole[9:73, 7:71])


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(SIDE, 9000), st.integers(SIDE, 9000)),
    scales=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
    index=st.integers(0, 1 << 30),
)
def test_a_square_lies_in_its_photograph_and_is_as_large_as_the_scales_say(
    size: tuple[int, int], scales: tuple[float, float], index: int
):
    one = TrainingPhotograph(key="a", uri="a", size=1, width=size[0], height=size[1])
    wanted = CropSettings(side=SIDE, scales=scales)
    drawn = Crops(FrozenPhotographs(photographs=(one,)), wanted, 0)._draw(0, 0, index, 0)
    assert 0 <= drawn.left <= drawn.left + drawn.side <= size[0] + 1e-6
    assert 0 <= drawn.top <= drawn.top + drawn.side <= size[1] + 1e-6
    least = SIDE / min(size)
    assert max(least, min(scales)) - 1e-9 <= SIDE / drawn.side <= max(least, *scales) + 1e-9


def test_a_list_that_was_made_for_smaller_crops_is_refused(shared: FrozenPhotographs):
    with pytest.raises(
        TrainingDataError, match=r"set0/0\.png is 100x180 pixels, crops are 128: list the photographs anew"
    ):
        Crops(shared, CropSettings(side=128), 0)


@pytest.mark.parametrize("megapixels", [1, 400])
def test_photographs_beyond_the_memory_allowed_give_the_same_crops(tmp_path: Path, megapixels: int):
    files = {f"{at}.jpg": encode(photo(900, 700, seed=at), "JPEG") for at in range(3)}  # one fits into 1 MP, not two
    listed = frozen(tmp_path, files)
    crops = Crops(listed, VARIED, 9, megapixels)
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda step: crops.batch(0, step, range(4)), range(6)))
    for step, batch in enumerate(batches):
        assert np.array_equal(batch, Crops(listed, VARIED, 9).batch(0, step, range(4)))
    assert crops._decoded._held <= megapixels * 1_000_000
    assert crops._decoded._held == sum(pixels.size // 3 for pixels in crops._decoded._kept.values())


def test_a_corrupt_photograph_is_told_once_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    files = pictures()
    whole = encode(noise(200, 200, seed=9))
    torn = {**files, "set0/torn.png": whole[: len(whole) // 2]}
    listed = frozen(tmp_path, torn)
    assert len(listed.photographs) == 6  # its header is as good as any
    crops = Crops(listed, PLAIN, 0)
    batch = crops.batch(0, 0, range(60))
    assert list(crops.failures) == ["set0/torn.png"]
    assert "fetch it again" in crops.failures["set0/torn.png"]
    assert [record.getMessage().count("set0/torn.png") for record in caplog.records] == [1]
    # Which failures were met before changes nothing, and crops that do not meet it are those of the mended list.
    assert np.array_equal(Crops(listed, PLAIN, 0).batch(0, 0, range(59, -1, -1))[::-1], batch)
    (tmp_path / "set0/torn.png").write_bytes(whole)
    mended = Crops(freeze(Photographs(sources=(str(tmp_path),)), SIDE), PLAIN, 0).batch(0, 0, range(60))
    same = [np.array_equal(one, other) for one, other in zip(batch, mended, strict=True)]
    assert 60 * 4 / 6 < sum(same) < 60


def test_photographs_that_changed_or_vanished_since_are_passed_over_until_none_is_left(tmp_path: Path):
    listed = frozen(
        tmp_path, {"a.png": encode(noise(100, 100)), "b.png": encode(noise(100, 90)), "c.png": encode(noise())}
    )
    (tmp_path / "a.png").unlink()
    other = encode(np.zeros((100, 80, 3), np.uint8))
    size = listed.photographs[1].size
    (tmp_path / "b.png").write_bytes(other + bytes(size - len(other)))
    crops = Crops(listed, PLAIN, 0)
    crops.batch(0, 0, range(30))
    assert "no longer there" in crops.failures["a.png"]
    assert "80x100 pixels, where 100x90 were listed" in crops.failures["b.png"]
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(TrainingDataError, match=rf"{ATTEMPTS} draws .* \(3 of 3\): .*a\.png.*; mend them") as error:
        Crops(listed, PLAIN, 0).batch(0, 0, [0])
    assert "\n" not in str(error.value)


def test_tiny_and_unreadable_photographs_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    files = pictures(3) | {
        "tiny.png": encode(noise(63, 400)),
        "text.jpg": b"hello",
        "empty.png": b"",
        "notes.txt": b"x",
    }
    listed = frozen(tmp_path, files)
    assert [one.key for one in listed.photographs] == sorted(pictures(3))
    assert {one.name: one.reason for one in listed.left_out}["tiny.png"] == "63x400 pixels do not hold a crop of 64"
    assert {one.name for one in listed.left_out} == {"tiny.png", "text.jpg", "empty.png"}
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told.startswith("3 of 6 photographs are left out: ")
    assert "empty.png" in told


@pytest.mark.parametrize(
    ("files", "group", "said"),
    [
        ({}, "", "is empty"),
        ({"notes.txt": b"x"}, "", "holds no image"),
        ({"a.png": encode(noise(63, 63)), "b.png": encode(noise(20, 400))}, "", "a.png: 63x63 .* crop below 64"),
        ({"a.png": b"no"}, "", "a.png: .*text"),
        (pictures(2), r"^(x)", r"group '\^\(x\)' matches no key, such as 'set0/0.png'"),
        (pictures(2), r"^set", "has no group: put"),
        (pictures(2), r"^(set", "no regular expression"),
    ],
)
def test_what_cannot_be_trained_on_ends_in_one_clear_line(
    tmp_path: Path, files: dict[str, bytes], group: str, said: str
):
    with pytest.raises(TrainingDataError, match=said) as error:
        frozen(tmp_path, files, group)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, TrainingError)


def test_no_source_and_a_source_that_is_not_there_are_told():
    with pytest.raises(TrainingDataError, match="no source"):
        freeze(Photographs(sources=()), SIDE)
    with pytest.raises(TrainingDataError, match="/nowhere/at/all does not exist"):
        freeze(Photographs(sources=("/nowhere/at/all",)), SIDE)


def test_sizes_are_those_of_the_pixels_as_displayed_also_where_only_the_head_is_read(tmp_path: Path):
    large = encode(noise(700, 500), "JPEG", quality=95, exif=exif(6))
    small = encode(photo(90, 70), "PNG", exif=exif(8))
    last = encode(noise(400, 300), "WEBP", lossless=True, exif=exif(6))  # it stands at the end of the file
    assert min(len(large), len(last)) > HEAD_BYTES
    listed = frozen(tmp_path, {"large.jpg": large, "small.png": small, "last.webp": last})
    assert [(one.key, one.width, one.height) for one in listed.photographs] == [
        ("large.jpg", 500, 700), ("last.webp", 300, 400), ("small.png", 70, 90)
    ]  # fmt: skip
    crops = Crops(listed, PLAIN, 0)
    crops.batch(0, 0, range(30))
    assert not crops.failures


def test_folder_tar_zip_parquet_and_bucket_give_the_same_crops_of_the_same_photographs(tmp_path: Path):
    files = {f"{at}.jpg": encode(noise(300 + at, 280), "JPEG", quality=98) for at in range(4)}
    make_folder(tmp_path / "folder/x.tar", files)
    shards = {"tar/x.tar": tar_bytes(files), "zip/x.tar.zip": zip_bytes(files)}
    table = pa.table({"image": [{"bytes": content, "path": name} for name, content in files.items()]})
    make_folder(tmp_path, {**shards, "parquet/x.tar.parquet": parquet_bytes(table)})
    bucket = fsspec.filesystem("memory")
    for name, content in files.items():
        bucket.pipe(f"/crops/x.tar/{name}", content)
    sources = [*(str(tmp_path / name) for name in ("folder", "tar", "zip", "parquet")), "memory://crops"]
    listed = [freeze(Photographs(sources=(source,)), SIDE) for source in sources]
    first = listed[0]
    assert first.digest() == listed[1].digest() == listed[4].digest()  # the same keys, too
    for other in listed[1:]:
        facts = [(one.key.rsplit("/")[-1], one.size, one.width, one.height) for one in other.photographs]
        assert facts == [(one.key.rsplit("/")[-1], one.size, one.width, one.height) for one in first.photographs]
        assert np.array_equal(
            Crops(other, VARIED, 3).batch(0, 0, range(12)), Crops(first, VARIED, 3).batch(0, 0, range(12))
        )


def test_sources_are_joined_without_taking_a_photograph_twice(tmp_path: Path):
    make_folder(tmp_path / "one", {"a.png": encode(noise(70, 70)), "b.png": encode(noise(80, 70))})
    make_folder(tmp_path / "two", {"a.png": encode(noise(90, 70))})
    sources = (str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "one" / "b.png"))
    listed = freeze(Photographs(sources=sources), SIDE)
    assert [(one.key, one.width) for one in listed.photographs] == [("a.png", 70), ("a~2.png", 90), ("b.png", 80)]


def test_photographs_that_are_held_out_are_listed_apart_and_no_crop_shows_them(tmp_path: Path):
    files = {f"{level}.png": encode(np.full((SIDE, SIDE, 3), level, np.uint8)) for level in (10, 20, 30)}
    source = (str(make_folder(tmp_path / "photographs", files)),)
    listed = freeze(Photographs(sources=source, held_out=("20.png",)), SIDE)
    assert [one.key for one in listed.held_out] == ["20.png"]
    assert set(Crops(listed, PLAIN, 0).batch(0, 0, range(100))[:, 0, 0, 0].tolist()) == {10, 30}
    listed.save(tmp_path / "photographs.json")
    assert FrozenPhotographs.load(tmp_path / "photographs.json") == listed
    with pytest.raises(TrainingDataError, match=r"'40\.png' is to be held out, but no photograph"):
        freeze(Photographs(sources=source, held_out=("20.png", "40.png")), SIDE)
    with pytest.raises(TrainingDataError, match="all 3 photographs are held out"):
        freeze(Photographs(sources=source, held_out=tuple(files)), SIDE)


def test_a_saved_list_is_read_back_and_one_changed_by_hand_is_refused(tmp_path: Path):
    listed = frozen(tmp_path / "photographs", pictures() | {"tiny.png": encode(noise(9, 9))}, group=r"^(set\d)")
    path = tmp_path / "photographs.json"
    listed.save(path)
    assert FrozenPhotographs.load(path) == listed
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["photographs.json"]
    moved = frozen(tmp_path / "elsewhere", pictures(), group=r"^(set\d)")
    assert moved.digest() == listed.digest()
    assert frozen(tmp_path / "more", pictures(6), group=r"^(set\d)").digest() != listed.digest()
    assert frozen(tmp_path / "ungrouped", pictures()).digest() != listed.digest()
    content = msgspec.json.decode(path.read_bytes())
    content["photographs"][0]["width"] += 1
    path.write_bytes(msgspec.json.encode(content))
    with pytest.raises(TrainingDataError, match="not as it was written"):
        FrozenPhotographs.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingDataError, match="no list of photographs"):
        FrozenPhotographs.load(path)


def test_steps_come_in_order_and_no_more_are_made_ahead_than_asked():
    made: list[int] = []
    asked = threading.Semaphore(0)

    def make(step: int) -> int:
        made.append(step)
        asked.release()
        return 10 * step

    with Ahead(make, 3, 9, depth=2) as ahead:
        for _ in range(2):
            assert asked.acquire(timeout=10)  # before the loop asked for any
        for step, found in enumerate(ahead, 3):
            assert found == 10 * step
            assert len(made) <= step - 3 + 1 + 2
    assert made == [3, 4, 5, 6, 7, 8]
    assert list(Ahead(make, 4, 4)) == []


def test_an_error_is_raised_at_its_step_and_an_early_end_leaves_no_thread():
    def make(step: int) -> int:
        if step == 2:
            raise TrainingDataError("no photograph is left")
        return step

    before = threading.active_count()
    with Ahead(make, 0, 100, depth=5) as ahead:
        steps = iter(ahead)
        assert [next(steps), next(steps)] == [0, 1]
        with pytest.raises(TrainingDataError, match="no photograph is left"):
            next(steps)
    made: list[int] = []

    def make_slowly(step: int) -> None:
        time.sleep(0.05)
        made.append(step)

    with Ahead(make_slowly, 0, 1000, depth=20) as ahead:
        for _ in ahead:
            break
    assert len(made) < 10  # none but those done by then, and the one in hand
    assert threading.active_count() == before
