"""Evaluating end to end: what is judged, resuming, any number of workers, and everything that can be wrong."""

import io
import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace
from PIL import Image

import clusters.session
from clusters.budget import budget_for_nodes
from jobs.gathering import gather
from jobs.protocol_files import read_protocol
from jobs.requests import only
from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.decoding import decode
from ops.evaluation.scores import read_scores
from ops.judging import Judged
from ops.metrics.psnr import psnr
from pipelines import evaluate as module
from pipelines.evaluate import Evaluated, evaluate
from pipelines.events import Event, Receipt
from pipelines.judge import JudgeWork
from pipelines.requests import EvaluateRequest
from tests import makers
from tests.runs import Run, jpeg, photographs, put_files, request

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

FAST = only(read_protocol("regrow"), ["psnr_rgb", "ssim_rgb"])
# Torch takes seconds to load in each worker.
NETWORK = only(read_protocol("regrow"), ["psnr_rgb", "ssim_rgb", "lpips_alex"])


def asked(target: object, **more: object) -> EvaluateRequest:
    return EvaluateRequest(target=str(target), **{"protocol": FAST, "baselines": ("jpeg",), **more})  # type: ignore[arg-type]


def table_of(found: Evaluated) -> pa.Table:
    judging = found.document.judging
    return read_scores(found.url, judging.protocol.columns(), [candidate.name for candidate in judging.candidates])


def rows_of(found: Evaluated, candidate: str) -> dict[str, dict]:
    return {row["key"]: row for row in table_of(found).to_pylist() if row["candidate"] == candidate}


@pytest.fixture
def archived(tmp_path: Path) -> Path:
    put_files(str(tmp_path / "photos"), {**photographs(5), "bad.jpg": b"?"})
    Run(request(tmp_path / "photos", tmp_path / "a"))
    return tmp_path / "a"


def test_an_archive_is_judged_against_what_it_was_made_of(archived: Path) -> None:
    found = evaluate(asked(archived, protocol=NETWORK))
    rows = rows_of(found, "bicubic-x4")
    assert found.url.startswith(f"{archived}/evaluations/regrow-")
    assert {key: row["status"] for key, row in rows.items()} == {
        **dict.fromkeys(photographs(5), "ok"), "bad.jpg": "no_thumbnail",
    }  # fmt: skip
    assert "not_an_image" in rows["bad.jpg"]["message"]
    codec, original = codec_from("bicubic-x4").load(Runtime()), decode(jpeg(3)).pixels
    grown = codec.decode(codec.encode([original]))[0]
    assert rows["003.jpg"]["psnr_rgb"] == psnr(original, grown)
    found_row = Archive.open(str(archived)).find("003.jpg")
    assert found_row
    assert rows["003.jpg"]["num_bytes"] == found_row.length
    assert 0 < rows["003.jpg"]["lpips_alex"] < 2


def test_a_baseline_has_the_bytes_of_the_thumbnail_or_says_that_it_is_larger(archived: Path) -> None:
    found = evaluate(asked(archived))
    ours = rows_of(found, "bicubic-x4")
    for name in ("jpeg=bicubic-x4", "jpeg-down=bicubic-x4"):
        for key, row in rows_of(found, name).items():
            if row["status"] == "ok":
                assert row["larger"] or row["num_bytes"] <= ours[key]["num_bytes"]
                assert row["settings"].startswith("q")


def test_codecs_are_judged_on_a_source_without_an_archive(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(3))
    codecs = [codec_from("bicubic-x4"), codec_from("bicubic-x8")]
    found = evaluate(asked(source, codecs=codecs, destination=str(tmp_path / "e"), baselines=(), rates=[0.5]))
    means = {
        name: sum(row["psnr_rgb"] for row in rows_of(found, name).values())
        for name in ("bicubic-x4", "bicubic-x8", "jpeg@0.5")
        if rows_of(found, name)
    }
    assert means["bicubic-x4"] > means["bicubic-x8"]
    assert found.document.kind == "source"


def test_a_run_takes_up_where_it_stopped_and_gives_the_same_table(
    archived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK_IMAGES", 2)
    whole = evaluate(asked(archived, destination=str(tmp_path / "whole")))
    evaluate(asked(archived, destination=str(tmp_path / "broken")))
    scores = sorted((tmp_path / "broken" / "scores").iterdir())
    assert len(scores) == 3
    scores[1].unlink()
    events: list[Event] = []
    again = evaluate(asked(archived, destination=str(tmp_path / "broken")), events.append)
    assert [event.num_images for event in events if isinstance(event, Receipt)] == [2]
    assert table_of(again).equals(table_of(whole))


def test_any_number_of_workers_gives_the_same_table(
    archived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK_IMAGES", 1)
    tables = []
    for number in (1, 3):
        changed = lambda nodes, number=number: replace(  # noqa: E731
            budget_for_nodes(nodes), num_actors=number, threads=number, actor_cpus=0.5
        )
        monkeypatch.setattr(clusters.session, "budget_for_nodes", changed)
        tables.append(table_of(evaluate(asked(archived, protocol=NETWORK, destination=str(tmp_path / f"{number}")))))
    assert tables[0].equals(tables[1])


def test_references_elsewhere_are_found_by_key_or_by_name_without_suffix(archived: Path, tmp_path: Path) -> None:
    def as_png(content: bytes) -> bytes:
        written = io.BytesIO()
        Image.open(io.BytesIO(content)).save(written, "PNG")
        return written.getvalue()

    others = {"000.png": as_png(jpeg(0)), "001.jpg": jpeg(1, 40, 40), "002.jpg": b"\xff\xd8\xff\xe0 broken"}
    put_files(str(tmp_path / "others"), others)
    rows = rows_of(evaluate(asked(archived, references=str(tmp_path / "others"))), "bicubic-x4")
    assert {key: row["status"] for key, row in rows.items()} == {
        "000.jpg": "ok", "001.jpg": "size_differs", "002.jpg": "reference_unreadable", "003.jpg": "no_reference",
        "004.jpg": "no_reference", "bad.jpg": "no_thumbnail",
    }  # fmt: skip
    assert "48x32" in rows["001.jpg"]["message"]
    assert "40x40" in rows["001.jpg"]["message"]
    own = rows_of(evaluate(asked(archived)), "bicubic-x4")
    assert rows["000.jpg"]["psnr_rgb"] == own["000.jpg"]["psnr_rgb"]


def test_a_reference_is_taken_by_its_stem_only_where_that_is_plain(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(1), "a.png": makers.encode(makers.photo(48, 32, seed=2)), "b.jpg": jpeg(3)}
    Run(request(put_files(str(tmp_path / "photos"), files), tmp_path / "a"))
    others = {"a.png": files["a.png"], "b.png": makers.encode(makers.photo(48, 32, seed=4))}
    found = evaluate(asked(tmp_path / "a", references=put_files(str(tmp_path / "others"), others)))
    statuses = {key: row["status"] for key, row in rows_of(found, "bicubic-x4").items()}
    assert statuses == {"a.jpg": "no_reference", "a.png": "ok", "b.jpg": "ok"}


def test_metrics_of_the_whole_set_stand_on_patches_of_both_sides(tmp_path: Path) -> None:
    files = {f"{index}.png": makers.encode(makers.photo(520, 300, seed=index)) for index in range(2)}
    source = put_files(str(tmp_path / "photos"), {**files, "small.jpg": jpeg(1)})
    protocol = only(read_protocol("regrow"), ["psnr_rgb", "fd_vgg16", "kd_vgg16"])
    codecs = [codec_from("bicubic-x4"), codec_from("bicubic-x16")]
    destination = str(tmp_path / "e")
    found = evaluate(asked(source, protocol=protocol, codecs=codecs, baselines=(), destination=destination))
    sets = gather(found, gallery=False).sets
    near, far = sets["bicubic-x4"]["fd_vgg16"], sets["bicubic-x16"]["fd_vgg16"]
    assert near.num == far.num == 4  # two patches of 256 an image, none of a second grid
    assert near.value is not None
    assert far.value is not None
    assert near.value > 0
    assert far.value > 0
    assert sets["bicubic-x4"]["kd_vgg16"].value is not None
    assert "fd_vgg16" in dict(rows_of(found, "bicubic-x4")["small.jpg"]["missing"])


def test_a_reference_that_is_gone_or_changed_is_told(archived: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "000.jpg").unlink()
    (tmp_path / "photos" / "001.jpg").write_bytes(jpeg(9))
    rows = rows_of(evaluate(asked(archived)), "bicubic-x4")
    assert rows["000.jpg"]["status"] == "no_reference"
    assert rows["001.jpg"]["status"] == "reference_unreadable"
    assert rows["001.jpg"]["message"].startswith("the reference of 001.jpg: changed: ")


def test_equal_constant_and_tiny_images_have_a_score_or_a_reason(tmp_path: Path) -> None:
    files = {
        "constant.png": makers.encode(makers.photo(64, 64) * 0 + 7, "PNG"),
        "tiny.png": makers.encode(makers.photo(5, 3), "PNG"),
        "one.png": makers.encode(makers.photo(1, 1), "PNG"),
    }
    source = put_files(str(tmp_path / "photos"), files)
    codecs = [codec_from("bicubic-x4")]
    asked_for = asked(source, protocol=NETWORK, codecs=codecs, destination=str(tmp_path / "e"), baselines=())
    rows = rows_of(evaluate(asked_for), "bicubic-x4")
    assert math.isinf(rows["constant.png"]["psnr_rgb"])
    assert rows["constant.png"]["ssim_rgb"] == 1
    assert rows["constant.png"]["lpips_alex"] == 0
    assert rows["tiny.png"]["psnr_rgb"] is not None
    assert rows["tiny.png"]["lpips_alex"] is None
    assert "5x3" in dict(rows["tiny.png"]["missing"])["lpips_alex"]
    assert rows["one.png"]["status"] == "ok"


def test_what_cannot_be_judged_is_refused_before_any_work(archived: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is an archive, which has a codec: leave --codecs out"):
        evaluate(asked(archived, codecs=[codec_from("bicubic-x4")]))
    with pytest.raises(ArchiveError, match="is no archive: name codecs"):
        evaluate(asked(tmp_path / "photos"))
    Run(request(tmp_path / "photos", tmp_path / "open", seal=False))
    with pytest.raises(ArchiveError, match="is not sealed yet"):
        evaluate(asked(tmp_path / "open"))
    evaluate(asked(archived, destination=str(tmp_path / "e")))
    with pytest.raises(ArchiveError, match="holds another evaluation"):
        evaluate(asked(archived, destination=str(tmp_path / "e"), match="00*"))


def test_it_works_on_an_object_store(tmp_path: Path, s3: str) -> None:
    put_files(f"{s3}/photos", photographs(3))
    Run(request(f"{s3}/photos", f"{s3}/a"))
    found = evaluate(asked(f"{s3}/a"))
    assert found.url.startswith(f"{s3}/a/evaluations/regrow-")
    assert table_of(found).num_rows == 9


def deadly(width: int) -> type:
    """Return a judge whose process ends at images of such a width. Defined in a function: Ray sends it by value."""

    class JudgeAndDie(JudgeWork):
        def _one(self, key: str, kept: Any, encoded: Any, *, decoder: Any) -> Judged:
            if isinstance(encoded, bytes) and decode(encoded).pixels.shape[1] == width:
                os._exit(1)
            return super()._one(key, kept, encoded, decoder=decoder)

    return JudgeAndDie


def test_an_image_that_kills_its_worker_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORK_IMAGES", 2)
    monkeypatch.setattr(module, "JudgeWork", deadly(77))
    source = put_files(str(tmp_path / "photos"), {**photographs(4), "002x.jpg": jpeg(50, width=77)})
    fast = only(FAST, ["psnr_rgb"])
    asked_for = asked(source, protocol=fast, codecs=[codec_from("bicubic-x4")], destination=str(tmp_path / "e"))
    rows = rows_of(evaluate(asked_for), "bicubic-x4")
    assert rows["002x.jpg"]["status"] == "reference_unreadable"
    assert "it was in hand each time its worker died (3 deaths)" in rows["002x.jpg"]["message"]
    assert [row["status"] for row in rows.values()].count("ok") == 4
