"""Reports of made-up tables that force every sentence, and of real photographs: what a reader is told."""

import csv
import io
import json
import math
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from msgspec.structs import replace

from jobs.errors import UsageError
from jobs.report.drawing import linear_axis, log_axis
from jobs.report.files import write_report
from jobs.report.findings import GalleryImage, Shown
from jobs.report.gallery import amplified, cut_to_crop, exhibits, worst_box
from jobs.report.measured import measure
from jobs.report.runs import compare_findings, comparison_json, comparison_lines, comparison_page
from jobs.report.verdict import verdicts
from ops.evaluation.document import Candidate
from ops.metrics.lpips import LpipsConfig
from ops.metrics.musiq import MusiqConfig
from ops.metrics.protocol import Protocol
from ops.metrics.psnr import PsnrConfig
from ops.metrics.ssim import SsimConfig
from tests.findings import METRICS, NANO, baseline, duel, findings, many, photographed, row
from tests.makers import encode, noise, photo

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = ["<script>alert(1)</script>.jpg", '"><img src=x onerror=alert(1)>.jpg', "a\x00b\n|c`d`.jpg", "سمكة 🐠.jpg"]


class Page(HTMLParser):
    """Takes a page apart, and fails where its tags are not closed in order."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(document)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def scores(num, psnr, lpips, seed=0):
    rng = np.random.default_rng(seed)
    return [(psnr + rng.normal(), lpips + 0.03 * rng.normal()) for _ in range(num)]


def duel_rows(candidate, pairs, **more):
    """Yield a row of each pair of PSNR and LPIPS."""
    for at, (psnr, lpips) in enumerate(pairs):
        yield row(f"{at:03d}.jpg", candidate, {"psnr_rgb": psnr, "lpips_alex": lpips}, **more)


def verdict(found):
    """Return the headline and the paragraphs of the first codec."""
    told = verdicts(found, measure(found))[0]
    return told.headline, {one.topic: one.text for one in told.paragraphs}


@pytest.fixture(scope="module")
def pictured():
    return photographed(num=5)


@pytest.fixture(scope="module")
def written(pictured):
    return write_report(pictured)


# What the verdict says.


def test_a_codec_that_is_behind_by_psnr_and_ahead_by_lpips_is_told_both():
    headline, told = verdict(duel(scores(24, 24, 0.31), scores(24, 27, 0.44, seed=1)))
    assert headline.startswith(
        "nano-x16 at 0.0078 bits per pixel, 24 images: AVIF at the same bytes is closer by 3.10 dB"
    )
    assert "looks closer than AVIF: LPIPS (AlexNet), which it was trained on, 0.3" in headline
    assert re.search(r"AVIF is better on 2\d of 24", told["Compared with what"])
    assert re.search(r"paired difference \d\.\d\d dB, 95 % \d\.\d\d to \d\.\d\d, p < 0.001, n = 24", str(told))
    against = told["The strongest case against it"]
    assert against.startswith("AVIF, which anyone can open, is better at the same bytes by PSNR (RGB)")


def test_a_codec_that_is_better_everywhere_is_still_argued_against():
    headline, told = verdict(duel(scores(24, 29, 0.31), scores(24, 26, 0.44, seed=1)))
    assert ": it is closer than AVIF by 2.90 dB" in headline
    assert "closer to the originals than anything judged at the same bytes" in told["Compared with what"]
    against = told["The strongest case against it"]
    assert "None at the same bytes is shown to be better by a verified metric" in against
    assert "On its worst image, " in against


def test_equal_numbers_are_no_difference_that_these_images_show():
    same = scores(24, 25, 0.4)
    headline, told = verdict(duel(same, scores(24, 25, 0.4, seed=5)))
    assert "no difference from AVIF by PSNR (RGB) that these images show" in headline
    assert "there is no difference that these 24 images show" in told["Compared with what"]
    assert "closer than" not in headline


def test_a_baseline_that_does_not_fit_is_larger_and_never_the_one_compared_with():
    headline, told = verdict(duel(scores(24, 24, 0.31), scores(24, 27, 0.44), larger=True))
    assert "nothing at the same bytes to compare it with" in headline
    assert (
        "Larger, and therefore not compared: AVIF (3 times the bytes, larger on 24 of 24)."
        in told["Compared with what"]
    )
    assert "not one number here says that it is worth more" in told["The strongest case against it"]


def test_one_image_is_too_few_and_said_to_be():
    headline, told = verdict(duel(scores(1, 24, 0.31), scores(1, 27, 0.44)))
    assert "too few images to compare it with AVIF" in headline
    assert "1 image is too few to tell nano-x16 from AVIF" in told["Compared with what"]
    assert "too few to say anything of other images" in told["Can it be trusted"]
    assert "too few images for an interval" in told["How good"]


def test_a_codec_of_which_all_failed_has_no_score_to_speak_for_it():
    rows = [row(f"{at}.jpg", NANO.name, {}, status="no_reference", num_bytes=None) for at in range(3)]
    headline, told = verdict(findings(rows, [NANO]))
    assert headline == "nano-x16 could not be judged: none of 3 images has a score (no_reference 3)."
    assert "Nothing here speaks for it" in told["The strongest case against it"]
    assert "nan" not in str(write_report(findings(rows, [NANO]))["report.md"]).replace("nano", "")


def test_an_evaluation_without_a_single_row_has_a_report():
    written = write_report(findings([], [NANO, baseline()], num_planned=7))
    assert "0 of 7 planned images were judged" in Page(written["report.html"]).text


def test_equal_images_count_as_the_protocol_says_and_are_counted():
    ours = [(math.inf, 0.0), *scores(9, 24, 0.3)]
    found = duel(ours, scores(10, 27, 0.4))
    _, told = verdict(found)
    assert "PSNR (RGB) is infinite for 1 image, the same to the last pixel" in told["Can it be trusted"]
    assert "count as 100 dB in means" in told["Can it be trusted"]
    summary = measure(found).measured.candidates[NANO.name].scores["psnr_rgb"]
    assert summary.mean == pytest.approx(math.fsum([100.0, *(psnr for psnr, _ in ours[1:])]) / 10)


def test_missing_numbers_and_failures_are_counted_with_their_reasons():
    rows = [row(f"{at}.jpg", NANO.name, {"psnr_rgb": 24.0 + at, "lpips_alex": 0.3}) for at in range(8)]
    rows.append(row("tiny.jpg", NANO.name, {"psnr_rgb": 20.0}, missing={"lpips_alex": "below 31 pixels"}))
    rows.append(row("gone.jpg", NANO.name, {}, status="reference_unreadable", message="HTTP 404", num_bytes=90))
    rows += [row(f"{at}.jpg", "avif=nano-x16", {"psnr_rgb": 23.0, "lpips_alex": 0.5}, num_bytes=80) for at in range(7)]
    found = findings(rows, [NANO, baseline()], num_planned=12)
    _, told = verdict(found)
    trust = told["Can it be trusted"]
    assert "9 of 12 planned images were judged." in trust
    assert "2 images have no rows yet" in trust
    assert "Without scores: reference_unreadable 1; no mean here holds them." in trust
    assert "LPIPS (AlexNet) has no number for 1 image more (below 31 pixels 1)." in trust
    assert "n = 7, 2 with a number for one of the two only" in told["Compared with what"]
    lpips = measure(found).measured.candidates[NANO.name].scores["lpips_alex"]
    assert lpips.missing == {"below 31 pixels": 1, "reference_unreadable": 1}
    text = Page(write_report(found)["report.html"]).text
    assert "HTTP 404" in text
    assert "not judged yet 3" in text  # of AVIF


def test_unverified_metrics_stay_out_of_the_verdict_and_of_the_headline_table():
    metrics = [MusiqConfig(), *METRICS]
    rows = [row(f"{at}.jpg", NANO.name, {"musiq": 60.0, "psnr_rgb": 24.0, "lpips_alex": 0.3}) for at in range(6)]
    found = findings(rows, [NANO], metrics, left_out={"fid": "no weights"})
    headline, told = verdict(found)
    assert "MUSIQ" not in headline
    trust = told["Can it be trusted"]
    assert "Not checked against any published result, and therefore kept out of this verdict: MUSIQ." in trust
    assert "Left out: fid (no weights)." in trust
    markdown = write_report(found)["report.md"]
    summary, unverified = (
        markdown.partition(f"## {name}\n")[2].partition("\n## ")[0] for name in ("Summary", "Unverified metrics")
    )
    assert "MUSIQ" not in summary
    assert "MUSIQ" in unverified
    assert "Not checked against any published result" in unverified


def test_without_lpips_and_dists_it_is_said_that_nothing_tells_how_it_looks():
    rows = [row(f"{at}.jpg", NANO.name, {"psnr_rgb": 24.0}) for at in range(6)]
    _, told = verdict(findings(rows, [NANO], [PsnrConfig()]))
    assert "nothing here says how it looks to people" in told["The strongest case against it"]


def test_another_codec_at_the_same_bytes_is_a_rival_too():
    bicubic = Candidate(name="bicubic-x16", kind="codec")
    candidates = [NANO, bicubic]
    rows = [row(f"{at}.jpg", NANO.name, {"psnr_rgb": 24.0, "lpips_alex": 0.4 + at / 99}) for at in range(9)]
    rows += [
        row(f"{at}.jpg", "bicubic-x16", {"psnr_rgb": 24.0, "lpips_alex": 0.3 + at / 99}, num_bytes=99)
        for at in range(9)
    ]
    found = findings(rows, candidates)
    ours, theirs = verdicts(found, measure(found))
    assert "bicubic-x16 at the same bytes looks closer" in ours.headline
    assert "which anyone can open" not in str(ours.paragraphs)
    assert "Larger, and therefore not compared: nano-x16 (1.010 times the bytes" in str(theirs.paragraphs)


def test_fewer_bytes_that_do_better_are_the_case_against_a_codec():
    cheap, dear = (Candidate(name=f"avif@{rate:g}", kind="rate", format="avif", rate=rate) for rate in (0.004, 0.1))
    rows = list(duel_rows(NANO.name, scores(12, 24, 0.3)))
    rows += duel_rows(cheap.name, scores(12, 25, 0.5, seed=1), num_bytes=50)
    rows += duel_rows(dear.name, scores(12, 35, 0.1, seed=1), num_bytes=1_300)
    _, told = verdict(findings(rows, [NANO, cheap, dear]))
    against = told["The strongest case against it"]
    assert re.search(r"AVIF at 0.004 bits per pixel is better by PSNR \(RGB\) with 0.50 times its bytes: 2\d", against)
    assert "0.1 bits" not in against


def test_a_baseline_that_slips_by_less_than_one_percent_is_compared_all_the_same():
    rows = [*duel_rows(NANO.name, scores(12, 24, 0.3)), *duel_rows("avif=nano-x16", scores(11, 27, 0.4), num_bytes=100)]
    rows.append(row("011.jpg", "avif=nano-x16", {"psnr_rgb": 27.0, "lpips_alex": 0.4}, num_bytes=110, larger=True))
    found = findings(rows, [NANO, baseline()])
    headline, _ = verdict(found)
    assert "AVIF at the same bytes is closer by" in headline
    assert "larger on 1" in Page(write_report(found)["report.html"]).text


def test_who_wins_twice_is_named_once():
    headline, _ = verdict(duel(scores(12, 24, 0.5), scores(12, 27, 0.3)))
    assert "AVIF at the same bytes is closer by 3.00 dB of PSNR (RGB); AVIF also looks closer: LPIPS" in headline


def test_baselines_of_two_codecs_are_told_apart():
    other = Candidate(name="nano-x32", kind="codec", generative=True)
    candidates = [NANO, baseline(), other, baseline(codec=other.name)]
    errors = np.full((32, 32), 9, "<f2").tobytes()
    rows = [line for one in candidates for line in duel_rows(one.name, scores(6, 24, 0.3), error_map=errors)]
    page = write_report(findings(rows, candidates))["report.html"]
    assert "AVIF, at the bytes of nano-x16" in page
    assert "AVIF, at the bytes of nano-x32" in page


def test_outliers_are_counted_and_the_worst_three_named():
    ours = [*scores(20, 24, 0.3), (24.0, 0.9), (24.0, 0.8)]
    _, told = verdict(duel(ours, scores(22, 23, 0.3)))
    assert told["Which images are bad"].startswith("Worst by LPIPS (AlexNet): 020.jpg (0.9000), 021.jpg (0.8000) and ")
    assert "2 images of 22 lie far outside of the others, above 0." in told["Which images are bad"]


def test_a_generative_codec_is_said_to_invent_and_nothing_is_called_safe(written):
    _, told = verdict(duel(scores(6, 24, 0.3), scores(6, 24, 0.3)))
    assert "fine detail is invented" in told["What it shows"]
    ours = write_report(duel(scores(6, 24, 0.3), scores(6, 24, 0.3)))
    for text in (*ours.values(), *written.values()):
        assert not re.search(r"\bsafe\b", text, re.IGNORECASE)
    assert "invents nothing" in Page(written["report.html"]).text


def test_the_verdict_stands_before_every_table(written):
    page = written["report.html"]
    assert page.index('id="verdict"') < page.index("<table")
    assert written["report.md"].index("## Verdict") < written["report.md"].index("## Summary")


# The page.


def test_the_page_is_well_formed_whole_and_asks_nothing_of_the_network(written):
    page = Page(written["report.html"])
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            address = attributes.get(name) or "data:"
            assert address.startswith(("data:", "#")), (tag, address[:80])
    for outside in ("http://", "https://", "@import", "url("):
        assert outside not in written["report.html"]
    assert {"verdict", "numbers", "plots", "images", "protocol"} <= {one.get("id") for one in page.all("section")}
    targets = {one.get("id") for _, one in page.tags}
    assert all(link["href"][1:] in targets for link in page.all("a"))


def test_every_picture_has_words_and_every_plot_a_title_and_a_description(written):
    page = Page(written["report.html"])
    assert all("alt" in image for image in page.all("img"))
    plots = len(page.all("svg"))
    assert plots == 9  # three metrics: curves, single images, differences
    assert written["report.html"].count("<desc>") == plots


def test_numbers_that_are_none_are_words(written):
    found = duel([(math.inf, 0.0)] * 6, [(math.inf, 0.0)] * 6)
    for files in (written, write_report(found)):
        for name in ("report.html", "report.md", "summary.json"):
            text = Page(files[name]).text if name == "report.html" else files[name]
            assert not re.search(r"\b(nan|NaN|inf|Infinity)\b", text), name


def test_scores_stand_beside_the_pictures_and_settings_of_the_protocol_below(pictured, written):
    text = Page(written["report.html"]).text
    rows = pictured.table.to_pylist()
    first = next(one for one in rows if one["candidate"] == "bicubic-x8")
    assert f"{first['num_bytes']:,} bytes; PSNR (RGB) {first['psnr_rgb']:.2f}" in text
    for words in (pictured.plan.images_digest, pictured.document.protocol_digest, "Black 0, brightest", "N = 12"):
        assert words in text
    assert "recompressed (WebP, quality 90)" in text
    assert "no weights of Inception here" in text


def test_an_archive_is_counted_with_container_and_catalog_and_escrow_apart(written):
    text = Page(written["report.html"]).text
    assert re.search(r"The archive, with container and catalog\s+120 kB\s+2\.9297", text)
    assert re.search(r"Escrow: the decoder, kept once\s+16\.6 MB\s+not counted", text)
    assert "with container and catalog the archive takes 2.9297" in text  # the verdict's


@pytest.mark.parametrize("key", HOSTILE)
def test_any_key_is_shown_as_it_is_and_adds_no_tag(key):
    hostile, tame = (photographed(64, 1, ("jpeg",), (), keys=[name]) for name in (key, "a.jpg"))
    files, plain_files = write_report(hostile), write_report(tame)
    page, plain_page = Page(files["report.html"]), Page(plain_files["report.html"])
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain_page.tags]
    shown = key.replace("\x00", "\u2400").replace("\n", "\u240a")
    assert shown in page.text
    assert "\x00" not in files["report.html"]
    assert len(files["report.md"].splitlines()) == len(plain_files["report.md"].splitlines())
    assert next(iter(csv.DictReader(io.StringIO(files["scores.csv"]))))["key"] == key
    assert (
        json.loads(files["summary.json"])["measured"]["candidates"]["bicubic-x8"]["scores"]["psnr_rgb"]["worst_key"]
        == key
    )


def test_a_page_of_many_large_pictures_keeps_within_its_size():
    reference, other = noise(700, 520), noise(700, 520, seed=1)
    gallery = [
        GalleryImage(
            key=f"{at}.png", why="drawn by lot", reference=reference, thumbnail=encode(photo(44, 33)),
            media_type="image/png", shown=[Shown(candidate=NANO.name, pixels=other)],
        )
        for at in range(4)
    ]  # fmt: skip
    largest, _ = exhibits(gallery[:1])
    made, left_out = exhibits(gallery, most_bytes=3 * largest[0].num_bytes())
    assert left_out == 0
    assert sum(one.num_bytes() for one in made) <= 3 * largest[0].num_bytes()
    assert made[0].pictures[0].width < largest[0].pictures[0].width == 400
    made, left_out = exhibits(gallery, most_bytes=made[0].num_bytes())
    assert (len(made), left_out) == (1, 3)


def test_a_crop_lies_where_the_error_is_greatest_and_never_beyond_the_image():
    reference = photo(203, 117)
    spoilt = reference.copy()
    spoilt[100:, 180:] ^= 0x40
    box = worst_box(reference, spoilt, (48, 32))
    assert (box.right, box.bottom) == (203, 117)
    assert (box.right - box.left, box.bottom - box.top) == (48, 32)
    assert worst_box(reference, reference, (400, 304)) == (0, 0, 203, 117)


def test_an_image_that_was_cut_to_its_crop_is_shown_as_the_whole_one_would_be():
    reference, other = noise(700, 520), noise(700, 520, seed=1)
    other[300:] = reference[300:]
    image = GalleryImage(
        key="a.png", why="drawn by lot", reference=reference, thumbnail=encode(photo(44, 33)), media_type="image/png",
        shown=[Shown(candidate=NANO.name, pixels=other)],
    )  # fmt: skip
    cut = cut_to_crop(image)
    assert cut.reference.shape == (304, 400, 3)
    assert exhibits([cut]) == exhibits([image])


def test_a_difference_says_by_how_much_it_was_amplified():
    reference = photo()
    difference, factor = amplified(reference, np.clip(reference.astype(int) + 3, 0, 255).astype(np.uint8))
    assert factor == 16
    assert np.median(difference) == 48
    assert amplified(reference, 255 - reference)[1] == 1


def test_axes_hold_a_single_number_and_have_round_ticks():
    assert linear_axis([5.0], 0, 100).place(5.0) == pytest.approx(50)
    assert linear_axis([0.0], 0, 100).ticks()
    assert linear_axis([19.6, 27.3], 0, 100).ticks() == [20, 22, 24, 26]
    assert log_axis([0.03, 3.0], 0, 100).ticks() == [0.05, 0.1, 0.2, 0.5, 1, 2]
    assert log_axis([0.1], 0, 100).place(0.1) == pytest.approx(50)


# The other files.


def test_scores_come_back_from_csv_to_the_last_digit():
    found = duel([(math.inf, 0.1), *scores(5, 24, 0.3)], scores(6, 27, 0.4))
    read = list(csv.DictReader(io.StringIO(write_report(found)["scores.csv"])))
    kept = found.table.to_pylist()
    assert [(one["key"], one["candidate"]) for one in read] == [(one["key"], one["candidate"]) for one in kept]
    for column in ("psnr_rgb", "lpips_alex"):
        assert [float(one[column]) for one in read] == [one[column] for one in kept]
    assert read[0]["psnr_rgb"] == "inf"
    assert read[0]["thumbnail_psnr"] == ""
    assert read[0]["larger"] == "false"


def test_csv_says_why_a_number_is_missing():
    rows = [row("a.jpg", NANO.name, {"psnr_rgb": 24.0}, missing={"lpips_alex": 'below 31 pixels, "tiny"'})]
    rows.append(row("b.jpg", NANO.name, {}, status="not_regrown", message="out of memory"))
    first, second = csv.DictReader(io.StringIO(write_report(findings(rows, [NANO]))["scores.csv"]))
    assert (first["lpips_alex"], first["lpips_alex_missing"], first["psnr_rgb_missing"]) == (
        "",
        'below 31 pixels, "tiny"',
        "",
    )
    assert (second["psnr_rgb"], second["psnr_rgb_missing"], second["message"]) == ("", "not_regrown", "out of memory")


def test_the_summary_has_the_numbers_of_the_page():
    found = duel([(math.inf, 0.1), *scores(9, 24, 0.3)], scores(10, 27, 0.4))
    content = json.loads(write_report(found)["summary.json"], parse_constant=pytest.fail)
    ours = content["measured"]["candidates"][NANO.name]
    assert ours["scores"]["psnr_rgb"]["num_infinite"] == 1
    assert ours["bits_per_pixel"] == 100 * 8 / 320**2
    [against] = content["measured"]["against"]
    assert (against["other"], against["fits"], against["scores"]["psnr_rgb"]["num"]) == ("avif=nano-x16", True, 10)
    assert content["verdicts"][0]["headline"] in Page(write_report(found)["report.html"]).text


def test_two_reports_of_the_same_findings_are_equal_to_the_last_byte(pictured, written):
    assert write_report(pictured) == written


def test_two_thousand_images_of_ten_candidates_take_seconds():
    found = many()
    began = time.process_time()
    files = write_report(found)
    assert time.process_time() - began < 30  # 4 s on two slow cores
    assert len(files["report.html"]) < 1_000_000
    assert files["scores.csv"].count("\n") == 20_001
    assert 'class="s0 bars"' in files["report.html"]  # too many images for a dot each


# What papers printed.


def published(protocol, data_set="div2k:valid"):
    metrics = [PsnrConfig(colour="y", range="limited"), LpipsConfig(network="vgg")]
    rows = [row(f"{at}.png", "tadm-x16", {"psnr_y_limited": 24.0 + at, "lpips_vgg": 0.3}) for at in range(6)]
    found = findings(
        rows, [Candidate(name="tadm-x16", kind="codec", generative=True)], metrics, data_set=data_set,
        protocol=Protocol(name=protocol, about="made up", metrics=metrics),
    )  # fmt: skip
    judging = replace(found.document.judging, codecs=[{"name": "tadm", "scale": 16}])
    found = replace(found, document=replace(found.document, judging=judging))
    return Page(write_report(found)["report.html"]).text


def test_rows_of_papers_stand_beside_ours_where_protocol_data_set_and_scale_are_theirs():
    text = published("tadm-iccv25")
    assert "tadm-x16 beside what papers printed, div2k:valid at 16x" in text
    assert "tadm-x16, measured here" in text
    assert "FaithEIR ran TADM again on DIV2K at 16x" in text  # its known contradiction
    assert "Scored by faitheir, not by tadm-iccv25 as here: no number may be held beside ours." in text


def test_times_and_bytes_that_papers_printed_come_with_their_known_errors():
    text = published("tadm-iccv25")
    assert "OSIRDiff's Table 4 counts 92.9 million parameters for VQIR" in text
    assert "477,418 / 628.16 is 760, not 196.55" in text


def test_rows_of_papers_stand_apart_where_the_protocol_is_another_and_nowhere_for_a_folder():
    text = published("regrow")
    assert "beside what papers printed" not in text
    assert "Not comparable with tadm-x16" in text
    assert "hold its numbers beside no published table" in text
    assert "Not comparable" not in published("regrow", data_set="")


# Two runs.


def test_two_runs_are_compared_over_the_images_that_both_have():
    first, second = (
        duel(scores(12, 30, 0.3), scores(12, 27, 0.4)),
        duel(scores(10, 24, 0.3, seed=4), scores(10, 27, 0.4)),
    )
    comparison = compare_findings(first, replace(second, url="evaluations/b"))
    assert (comparison.num_shared, comparison.only_first, comparison.only_second) == (10, 2, 0)
    ours = comparison.candidates[0].scores["psnr_rgb"]
    assert (ours.num, ours.wins) == (10, 10)
    lines = "\n".join(comparison_lines(comparison))
    assert "evaluations/a against evaluations/b: 10 images in both" in lines
    assert re.search(
        r"PSNR \(RGB\): \d\d.\d\d against 2\d.\d\d; the first is better \(paired difference \d.\d\d dB", lines
    )
    assert "LPIPS (AlexNet): " in lines
    assert "no difference that these images show" in lines
    assert "note: 2 images only in evaluations/a: 010.jpg, 011.jpg" in lines
    assert json.loads(comparison_json(comparison))["num_shared"] == 10
    assert "10/0/0" in Page(comparison_page(comparison)).text


def test_a_run_against_itself_is_the_same_on_every_image():
    found = duel(scores(8, 26, 0.3), scores(8, 27, 0.4))
    lines = comparison_lines(compare_findings(found, found))
    assert sum(line.startswith("  PSNR") for line in lines) == 2
    assert all("the same on every image" in line for line in lines if line.startswith("  "))


def test_references_with_other_bytes_are_compared_nowhere_and_named():
    first = duel(scores(8, 26, 0.3), scores(8, 27, 0.4))
    digests = [
        "ff" * 32 if key == "003.jpg" else digest
        for key, digest in zip(first.table["key"].to_pylist(), first.table["reference_sha256"].to_pylist(), strict=True)
    ]
    place = first.table.column_names.index("reference_sha256")
    second = replace(first, table=first.table.set_column(place, "reference_sha256", [digests]))
    comparison = compare_findings(first, second)
    assert (comparison.num_shared, comparison.changed_references) == (7, 1)
    assert any("references that differ in their bytes, compared nowhere: 003.jpg" in note for note in comparison.notes)


def test_codecs_of_other_names_are_compared_as_the_codec_of_each():
    other = Candidate(name="nano-x32", kind="codec", generative=True)
    rows = [row(f"{at:03d}.jpg", "nano-x32", {"psnr_rgb": 22.0, "lpips_alex": 0.5}, num_bytes=25) for at in range(8)]
    comparison = compare_findings(duel(scores(8, 26, 0.3), scores(8, 27, 0.4)), findings(rows, [other]))
    assert [one.called for one in comparison.candidates] == ["nano-x16 against nano-x32"]
    assert (comparison.candidates[0].first_bits, comparison.candidates[0].second_bits) == (0.0078125, 0.001953125)
    assert "in one run only, and not compared: avif=nano-x16" in comparison.notes


def test_runs_of_two_protocols_are_refused_with_what_differs():
    first = duel(scores(6, 26, 0.3), scores(6, 27, 0.4))
    metrics = [PsnrConfig(epsilon=1e-8), SsimConfig()]
    rows = [row("000.jpg", NANO.name, {metrics[0].column: 20.0, "ssim_rgb": 0.5})]
    second = findings(rows, [NANO], metrics, protocol=Protocol(name="b", about="b", metrics=metrics, border=4))
    with pytest.raises(
        UsageError, match=r"not scored alike: border, lpips_alex, psnr_rgb, ssim_rgb differ; evaluate both"
    ):
        compare_findings(first, second)


def test_runs_without_an_image_in_common_are_refused():
    rows = [row("elsewhere.jpg", NANO.name, {"psnr_rgb": 24.0, "lpips_alex": 0.3})]
    with pytest.raises(UsageError, match="no image with one reference in common"):
        compare_findings(duel(scores(6, 26, 0.3), scores(6, 27, 0.4)), findings(rows, [NANO]))
