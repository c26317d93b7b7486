"""The gallery of an evaluation is made anew as archive and scores have it, and its codecs are timed on a few images."""

from pathlib import Path

import numpy as np
import pytest

from jobs import gathering_pictures as module
from jobs.gathering import gather
from jobs.protocol_files import read_protocol
from jobs.report.findings import GalleryImage, Shown
from jobs.report.gallery import cut_to_crop
from jobs.requests import only
from ops.baselines import Baseline
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.decoding import decode
from ops.images import Failure
from pipelines.evaluate import evaluate
from pipelines.requests import EvaluateRequest
from tests.runs import Run, jpeg, photographs, put_files, request

PIXELS = [decode(jpeg(seed)).pixels for seed in range(3)]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_the_gallery_shows_what_was_judged_in_its_order_and_not_what_is_gone(tmp_path: Path) -> None:
    put_files(str(tmp_path / "photos"), photographs(8))
    Run(request(tmp_path / "photos", tmp_path / "a"))
    asked = EvaluateRequest(
        target=str(tmp_path / "a"), protocol=only(read_protocol("regrow"), ["psnr_rgb"]), baselines=("jpeg",)
    )
    evaluated = evaluate(asked)
    found = gather(evaluated)
    codec = found.document.judging.candidates[0].name
    rows = {row["key"]: row for row in found.table.to_pylist() if row["candidate"] == codec}
    by_psnr = sorted(rows, key=lambda key: rows[key]["psnr_rgb"])
    shown = [one.key for one in found.gallery]
    assert shown[:6] == by_psnr[:3] + by_psnr[:-4:-1]
    assert sorted(shown[6:]) == sorted(set(rows) - set(shown[:6]))
    settings = {(row["key"], row["candidate"]): row["settings"] for row in found.table.to_pylist()}
    for image in found.gallery:
        original = decode(photographs(8)[image.key]).pixels
        loaded = codec_from("bicubic-x4").load(Runtime())
        [payload] = loaded.encode([original])
        assert not isinstance(payload, Failure)
        wanted = {codec: loaded.decode([payload])[0]}
        for candidate in found.document.judging.candidates[1:]:
            file = Baseline("jpeg", original).at(settings[image.key, candidate.name])
            assert not isinstance(file, Failure)
            wanted[candidate.name] = file.pixels
        cut = cut_to_crop(
            GalleryImage(
                key=image.key, why="", reference=original, thumbnail=b"", media_type="",
                shown=[Shown(candidate=name, pixels=pixels) for name, pixels in wanted.items()],
            )
        )  # fmt: skip
        assert [one.candidate for one in image.shown] == list(wanted)
        for made, anew in zip(image.shown, cut.shown, strict=True):
            assert np.array_equal(made.pixels, anew.pixels)
    [timing] = found.timings
    assert (timing.codec, timing.num_images) == (codec, 8)
    (tmp_path / "photos" / shown[0]).unlink()
    assert [one.key for one in gather(evaluated).gallery] == shown[1:]


def test_time_is_taken_over_as_many_images_as_fit_and_over_one_at_least() -> None:
    codecs = {"bicubic-x4": codec_from("bicubic-x4").load(Runtime())}
    megapixels = [one.shape[0] * one.shape[1] / 1e6 for one in PIXELS]
    [all_of_them] = module._timings(codecs, iter(PIXELS), most=3600)
    assert all_of_them.num_images == 3
    assert all_of_them.megapixels == pytest.approx(sum(megapixels))
    assert min(all_of_them.down_seconds, all_of_them.up_seconds) > 0
    [one] = module._timings(codecs, iter(PIXELS), most=0)
    assert (one.num_images, one.megapixels) == (1, pytest.approx(megapixels[0]))
    assert module._timings(codecs, iter([]), most=3600) == []
