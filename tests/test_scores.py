"""Score rows read back: which version of an image counts, and with which versions of libraries it was judged."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from jobs.report.measured import measure
from jobs.report.trust import trust_words
from ops.archive.layout import Reading
from ops.codecs.base import Runtime
from ops.codecs.bicubic import BicubicConfig
from ops.evaluation import scores
from ops.evaluation.document import Candidate, Judging
from ops.evaluation.error_maps import mean_error_maps
from ops.evaluation.scores import ScoreRow, ScoreStatus, put_scores, read_all_scores
from ops.judging import Judge
from ops.metrics.base import MetricConfig
from ops.metrics.protocol import Protocol
from tests import findings, makers

CANDIDATES = ["bicubic-x16", "jpeg=bicubic-x16"]
COLUMNS = ["psnr_rgb"]


def rows(key, psnr, failed=(), status=ScoreStatus.NOT_ENCODED):
    """Return the rows of both candidates, in no order; an error map has the score in each cell."""
    cells = np.full((32, 32), psnr, "<f2").tobytes()
    return [
        ScoreRow(key=key, candidate=name, status=str(status), message="too large")
        if name in failed
        else ScoreRow(key=key, candidate=name, scores={"psnr_rgb": psnr}, error_map=cells)
        for name in reversed(CANDIDATES)
    ]


def read(folder):
    found = read_all_scores(str(folder), COLUMNS, CANDIDATES)
    table = found.table.select(["key", "candidate", "status", "psnr_rgb"]).to_pylist()
    return found, [tuple(row.values()) for row in table]


@pytest.mark.parametrize("failed", CANDIDATES)
def test_of_an_image_in_a_newer_version_all_rows_are_of_that_version_whatever_failed(tmp_path, failed):
    put_scores(str(tmp_path), "0-aa", [*rows("a", 20.0), *rows("b", 21.0)], COLUMNS)
    put_scores(str(tmp_path), "1-bb", [*rows("a", 30.0, [failed]), *rows("c", 31.0)], COLUMNS)
    found, told = read(tmp_path)
    newer = [(name, "not_encoded", None) if name == failed else (name, "ok", 30.0) for name in CANDIDATES]
    assert told == [
        *(("a", *one) for one in newer),
        *(("b", name, "ok", 21.0) for name in CANDIDATES),
        *(("c", name, "ok", 31.0) for name in CANDIDATES),
    ]
    maps = mean_error_maps(str(tmp_path), found.older)
    other = next(name for name in CANDIDATES if name != failed)
    assert (maps[failed][0, 0], maps[other][0, 0]) == (pytest.approx(26.0), pytest.approx((30 + 21 + 31) / 3))


def test_a_newer_version_that_was_not_archived_leaves_the_older_and_what_never_was_has_its_last_failure(tmp_path):
    gone = ScoreStatus.NO_THUMBNAIL
    put_scores(str(tmp_path), "0-aa", [*rows("a", 20.0), *rows("b", 1.0, CANDIDATES, gone)], COLUMNS)
    newer = [*rows("a", 1.0, CANDIDATES, gone), *rows("b", 1.0, CANDIDATES, gone)]
    for row in newer:
        row.message = "gone"
    put_scores(str(tmp_path), "1-bb", newer, COLUMNS)
    found, told = read(tmp_path)
    assert told[:2] == [("a", name, "ok", 20.0) for name in CANDIDATES]
    assert found.table["message"].to_pylist()[2:] == ["gone", "gone"]
    assert found.older == {("1-bb", "a"), ("0-aa", "b")}


def test_no_rows_are_an_empty_table(tmp_path):
    found, told = read(tmp_path)
    assert (told, found.older, found.stacks) == ([], set(), {})


def test_works_of_several_stacks_are_counted_and_the_report_warns_of_them(tmp_path, monkeypatch):
    for work, versions in (("a", "Pillow 12.1, numpy 2.4"), ("b", "Pillow 12.2, numpy 2.4")):
        monkeypatch.setattr(scores, "stack", lambda versions=versions: versions)
        put_scores(str(tmp_path), work, rows(work, 20.0), COLUMNS)
    stacks = read(tmp_path)[0].stacks
    assert [(stack[:22], number) for stack, number in sorted(stacks.items())] == [
        ("Pillow 12.1, numpy 2.4", 1), ("Pillow 12.2, numpy 2.4", 1),
    ]  # fmt: skip
    duel = [(20.0, 0.3)] * 40
    for given, said in ((stacks, "1 with Pillow 12.1; 1 with Pillow 12.2"), ({"Pillow 12.1": 2}, "")):
        found = findings.duel(duel, duel, stacks=dict(given))
        measured = measure(found).measured
        words = trust_words(found, measured, measured.candidates[findings.NANO.name])
        assert ("were not all judged with the same versions" in words) == bool(said)
        assert said in words


class Threads(MetricConfig, tag="threads", frozen=True, kw_only=True):
    """Scores by how many threads torch has while it is asked."""

    column: ClassVar[str] = "threads"
    heading: ClassVar[str] = "threads"

    def load(self, _runtime):
        return self

    def score(self, _reference, _reconstruction):
        return float(torch.get_num_threads())


class Greedy:
    """A real codec that leaves torch with as many threads as suit it."""

    generative, concurrent = False, False

    def __init__(self, codec):
        self._codec = codec

    def encode(self, images):
        return self._codec.encode(images)

    def decode(self, payloads):
        torch.set_num_threads(2)
        return self._codec.decode(payloads)


def test_metrics_run_with_the_threads_of_the_protocol_whatever_a_codec_has_set():
    config, before = BicubicConfig(scale=16), torch.get_num_threads()
    judging = Judging(
        protocol=Protocol(name="threads", about="made up", metrics=[Threads()], threads=1), reading=Reading(),
        codecs=[config.settings()], codec_digests=[config.digest()],
        candidates=[Candidate(name="bicubic-x16", kind="codec")],
    )  # fmt: skip
    judge = Judge(judging, Runtime())
    held = judge._maker._codecs
    held["bicubic-x16"] = (config, Greedy(held["bicubic-x16"][1]))
    try:
        [row] = judge.judge("0.png", makers.photo(64, 48), b"").rows
    finally:
        torch.set_num_threads(before)
    assert row.scores == {"threads": 1.0}
