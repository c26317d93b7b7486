"""What papers printed stands here as they printed it, with its source and with what is wrong with it."""

import pytest

from jobs.errors import UsageError
from jobs.paper_files import read_paper
from jobs.papers import FOLDER, PublishedRow, published, published_storage, published_times
from jobs.protocol_files import known_protocols, read_protocol

DATASETS = ("div2k", "urban100", "clic2020", "div8k", "lsdir")
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


RANGES = {"psnr_rgb": (10, 40), "psnr_y_limited": (10, 40), "fid": (1, 200), "musiq": (20, 80)}


def row(paper: str, dataset: str, scale: int, method: str) -> PublishedRow:
    (found,) = [one for one in published(dataset, scale) if (one.paper, one.method) == (paper, method)]
    return found


def all_rows() -> list[PublishedRow]:
    return [one for dataset in DATASETS for scale in (16, 32) for one in published(dataset, scale)]


# Read again in the papers, row by row.
TADM = ("psnr_y_limited", "ssim_y_limited", "lpips_vgg", "dists", "musiq", "clipiqa")
FAITHEIR = ("lpips_vgg", "dists", "fid", "kid", "psnr_rgb", "ssim_rgb", "musiq")


@pytest.mark.parametrize(
    ("paper", "dataset", "scale", "method", "numbers"),
    [
        # OSIRDiff, Table 1
        ("OSIRDiff", "div2k", 16, "OSIRDiff", (23.77, 0.6675, 0.3026, 0.0824, 66.31, 0.6443)),
        ("OSIRDiff", "div2k", 32, "HCFlow", (23.89, 0.6467, 0.5816, 0.3852, 37.25, 0.2792)),
        ("OSIRDiff", "urban100", 16, "IRN", (22.15, 0.6155, 0.5114, 0.3338, 58.73, 0.3217)),
        ("OSIRDiff", "clic2020", 32, "OSIRDiff", (24.16, 0.6887, 0.3968, 0.1459, 64.38, 0.6586)),
        ("OSIRDiff", "clic2020", 16, "EDSR", (26.33, 0.7408, 0.5109, 0.3057, 33.17, 0.3392)),
        ("OSIRDiff", "div8k", 16, "RCAN", (26.63, 0.6778, 0.5470, 0.3430, 29.93, 0.3796)),
        # TADM, supplement, Table 1
        ("TADM", "urban100", 16, "TADM", (21.46, 0.6495, 0.2577, 0.1154, 72.22, 0.7155)),
        ("TADM", "urban100", 32, "S3Diff", (15.74, 0.3419, 0.5282, 0.2573, 69.56, 0.6776)),
        ("TADM", "div8k", 32, "TADM", (24.37, 0.6337, 0.4358, 0.1888, 63.34, 0.7229)),
        ("TADM", "div8k", 16, "VQIR", (25.79, 0.6889, 0.3221, 0.1066, 56.76, 0.5769)),
        # TADM, Table 1, without SSIM in the notes at hand
        ("TADM", "div2k", 16, "TADM", (23.98, None, 0.2979, 0.0886, 66.56, 0.7189)),
        ("TADM", "div2k", 32, "TADM", (22.18, None, 0.4221, 0.1684, 69.12, 0.7204)),
        # FaithEIR, Table 1
        ("FaithEIR", "div2k", 16, "TADM", (0.3602, 0.1808, 49.05, 0.0148, 22.08, 0.6164, 62.44)),
        ("FaithEIR", "div2k", 16, "FaithEIR†", (0.2900, 0.0902, 13.42, 0.0013, 21.97, 0.6205, 68.50)),
        ("FaithEIR", "div2k", 32, "IRN", (0.6162, 0.4139, 168.52, 0.0979, 21.19, 0.5774, 27.02)),
        ("FaithEIR", "lsdir", 32, "FaithEIR", (0.3900, 0.1799, 22.14, 0.0027, 18.18, 0.4521, 71.68)),
        ("FaithEIR", "lsdir", 16, "VQIR", (0.3231, 0.1128, 15.79, 0.0018, 19.09, 0.5231, 72.02)),
        ("FaithEIR", "clic2020", 16, "T-IRN", (0.4846, 0.2752, 83.37, 0.0411, 27.62, 0.7670, 46.97)),
        ("FaithEIR", "clic2020", 32, "SeD", (0.5450, 0.3181, 90.32, 0.0416, 20.87, 0.5985, 52.97)),
    ],
)
def test_a_row_is_as_it_was_printed(paper, dataset, scale, method, numbers):
    columns = FAITHEIR if paper == "FaithEIR" else TADM
    printed = {column: number for column, number in zip(columns, numbers, strict=True) if number is not None}
    assert row(paper, dataset, scale, method).scores == printed


def test_all_rows_of_the_tables_are_there():
    counts = {paper: sum(1 for one in all_rows() if one.paper == paper) for paper in ("OSIRDiff", "TADM", "FaithEIR")}
    assert counts == {"OSIRDiff": 4 * 7 * 2, "TADM": 2 * 7 * 2 + 5 + 4, "FaithEIR": 3 * 9 * 2}


def test_every_row_says_its_source_and_its_columns_are_ones_of_its_protocol():
    for one in all_rows():
        assert "shared/papers/" in one.source
        assert one.table
        assert one.protocol in known_protocols()
        assert set(one.scores) <= set(read_protocol(one.protocol).columns())
        assert set(one.unsure) <= set(one.scores)
        assert one.scale in (16, 32)


def test_scores_lie_where_scores_lie():
    for one in all_rows():
        for column, number in one.scores.items():
            lowest, highest = RANGES.get(column, (0, 1))
            assert lowest < number < highest, (one.paper, one.method, column, number)


def test_baselines_of_the_preprint_and_of_tadm_are_the_same_numbers():
    """So both were scored by one program, which is why they stand under one protocol."""
    for dataset in ("urban100", "div8k"):
        for scale in (16, 32):
            for method in ("ESRGAN", "IRN", "HCFlow", "VQIR"):
                assert row("TADM", dataset, scale, method).scores == row("OSIRDiff", dataset, scale, method).scores


def test_the_two_contradicting_results_of_tadm_are_flagged_on_both_sides():
    assert any("FaithEIR ran TADM again" in flag for flag in row("TADM", "div2k", 16, "TADM").flags)
    assert any(".2979 and DISTS .0886" in flag for flag in row("FaithEIR", "div2k", 16, "TADM").flags)
    assert not any("again" in flag for flag in row("TADM", "div2k", 16, "VQIR").flags)


def test_the_row_of_stablesr_that_is_a_copy_is_flagged():
    for scale in (16, 32):
        copied = row("TADM", "urban100", scale, "StableSR")
        assert copied.scores == row("OSIRDiff", "urban100", scale, "EDSR").scores
        assert any("copying error" in flag for flag in copied.flags)
    assert not any("copying error" in flag for flag in row("TADM", "div8k", 16, "StableSR").flags)


def test_what_is_unknown_of_the_images_is_flagged():
    assert any("which images of DIV8K" in flag for flag in row("TADM", "div8k", 16, "TADM").flags)
    assert row("TADM", "div8k", 16, "TADM").split == ""
    assert any("428 images is inferred" in flag for flag in row("FaithEIR", "clic2020", 16, "SeD").flags)
    assert "ssim_rgb" in row("FaithEIR", "clic2020", 16, "SeD").unsure


def test_rows_of_another_split_are_left_out():
    assert published("div2k:valid", 16) == published("div2k", 16)
    assert published("div2k:train", 16) == []
    assert published("div8k:test8k", 16) == published("div8k", 16)  # which images they stand on is not known: flagged
    assert published("div2k", 8) == []
    with pytest.raises(UsageError, match="no data set 'div9k'"):
        published("div9k", 16)


def test_times_and_parameters_are_as_they_were_printed():
    times = {(one.paper, one.method): one for one in published_times()}
    faitheir = times["FaithEIR", "FaithEIR"]  # Table 4
    assert (faitheir.down_seconds, faitheir.up_seconds, faitheir.parameters) == (0.1609, 5.7912, 985.03)
    assert (faitheir.total_seconds, faitheir.trainable) == (None, None)
    assert faitheir.seconds == pytest.approx(5.9521)
    tadm = times["FaithEIR", "TADM"]
    assert (tadm.down_seconds, tadm.up_seconds, tadm.parameters) == (0.5561, 1.6837, 1354.52)
    preprint = times["OSIRDiff", "OSIRDiff"]  # Table 4
    assert (preprint.seconds, preprint.parameters, preprint.trainable) == (0.711, 1352.5, 63.2)
    assert "RTX 3090" in preprint.setting
    assert any("84.93" in flag for flag in times["OSIRDiff", "VQIR"].flags)
    assert len(times) == 9


def test_the_table_against_jpeg_contradicts_itself_and_says_so():
    table = {one.method: one for one in published_storage()}  # FaithEIR, Table 5
    ours, whole, lowest = table["FaithEIR (16)"], table["w/o JPEG"], table["JPEG (QF=1)"]
    assert (ours.kilobytes, ours.ratio, ours.lpips_vgg) == (628.16, 196.55, 0.2951)
    assert lowest.kilobytes == 120_037.44
    assert whole.kilobytes / lowest.kilobytes == pytest.approx(3.98, abs=0.005)
    assert round(whole.kilobytes / ours.kilobytes) == 760
    assert any("760, not 196.55" in flag for flag in ours.flags)
    assert any("cannot be a JPEG of quality 1" in flag for flag in lowest.flags)


MINIMAL = """
paper: P
title: A paper
protocol: regrow
flags: [{text: odd, methods: [A]}]
tables:
  - {table: Table 1, source: p.md, columns: [psnr_rgb, dists], blocks: [
      {dataset: kodak, scale: 16, rows: {A: [30, .1]}}]}
"""


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "psnr_rgb, dists",
            "psnr, dists",
            r"p\.yaml: Table 1: no column psnr \(did you mean psnr_y\?\) in protocol regrow",
        ),
        ("dataset: kodak", "dataset: kodax", r"p\.yaml: no data set 'kodax' \(did you mean kodak\?\)"),
        ("[30, .1]", "[30]", "Table 1, kodak at 16x, A has 1 of 2 numbers: write null for none"),
        ("scale: 16", "scale: 1", r"field tables\[0\]\.blocks\[0\]\.scale is 1: write a whole number from 2"),
        ("methods: [A]", "methods: [B]", "P: a flag is about B, which has no row there"),
        ("protocol: regrow", "protocol: regrown", r"no protocol 'regrown' \(did you mean regrow\?\)"),
        ("source: p.md, ", "", r"field tables\[0\]\.source is missing"),
        ("title", "titel", r"unknown field titel \(did you mean title\?\)|field title is missing"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line(wrong, right, message):
    assert read_paper(MINIMAL, "p.yaml").tables[0].blocks[0].rows == {"A": [30.0, 0.1]}
    with pytest.raises(UsageError, match=message) as error:
        read_paper(MINIMAL.replace(wrong, right), "p.yaml")
    assert "\n" not in str(error.value)


def test_an_unknown_protocol_admits_every_column_that_there_is():
    paper = read_paper(
        MINIMAL.replace("protocol: regrow", "protocol: unknown").replace("psnr_rgb", "psnr_y_limited"), "p"
    )
    assert paper.tables[0].columns == ["psnr_y_limited", "dists"]


def test_the_files_are_these():
    assert FILES == ["faitheir.yaml", "osirdiff.yaml", "tadm-iccv25.yaml"]
