"""Predicted time-steps of tiles: kept in score rows, correlated with true errors, told by a report; parameters."""

import csv
import io
import json
import shutil
from base64 import b64decode

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from jobs import cli
from jobs.report.files import write_report
from jobs.report.findings import GalleryImage, Timing
from jobs.tile_words import correlation_words, timestep_lines
from ops.archive.layout import Reading
from ops.candidates import Kept
from ops.codecs.base import Runtime
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.labels import labels_of
from ops.codecs.names import codec_from
from ops.codecs.parameters import count_parameters
from ops.codecs.tile_facts import read_facts
from ops.evaluation.document import Candidate, Judging, set_candidates
from ops.evaluation.scores import put_scores, read_all_scores
from ops.evaluation.tiles import read_tiles
from ops.judging import Judge
from ops.metrics.protocol import Protocol
from ops.metrics.psnr import PsnrConfig
from ops.timesteps import TileMaps, correlate, gather_tiles, ranks, sum_up, tile_pixel_errors
from tests.findings import findings
from tests.learned import small_weights
from tests.makers import encode, photo
from tests.runs import put_files
from tests.test_report import Page

ONE = np.zeros(99, np.int64)
TILE_SETTINGS = ({"tile": 16, "overlap": 8}, {"tile": 24, "overlap": 8})


def maps(seed, rows=2, columns=3, slope=1.0):
    """Return an image's tiles whose errors follow their time-steps, but for some noise."""
    rng = np.random.default_rng(seed)
    timesteps = rng.uniform(20, 120, (rows, columns))
    errors = 0.1 + slope * timesteps / 1000 + rng.normal(0, 0.005, timesteps.shape)
    return TileMaps(*(plane.astype(np.float32) for plane in (timesteps, errors, 100 * errors)))


def told(tiles, untrained=(), **more):
    """Return the files of a report on made-up tiles of tadm-x16."""
    rows = []
    codec = Candidate(name="tadm-x16", kind="codec", generative=True)
    found = findings(rows, [codec], [PsnrConfig()], tiles={codec.name: tiles}, **more)
    return write_report(replace(found, document=replace(found.document, untrained=list(untrained))))


# Correlations.


def test_ranks_of_equal_numbers_are_the_mean_of_theirs():
    assert ranks(np.array([30.0, 10.0, 30.0, 20.0, 30.0])).tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]


def test_coefficients_are_those_of_numpy_over_all_tiles():
    rng = np.random.default_rng(1)
    x = rng.normal(1000, 1, 60)
    y = np.exp(x - 1000) + rng.normal(0, 0.2, 60)
    found = correlate(x, y, np.repeat(np.arange(10), 6))
    assert found.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert found.spearman == pytest.approx(np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1], abs=1e-9)
    for value, interval in ((found.pearson, found.pearson_interval), (found.spearman, found.spearman_interval)):
        assert interval.low < value < interval.high
    assert found == correlate(x, y, np.repeat(np.arange(10), 6))


def test_tiles_of_few_images_say_less_than_as_many_of_many_images():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 8))
    # Eight images whose tiles are all alike know no more than eight tiles do.
    alike = correlate(np.repeat(x, 50), np.repeat(y, 50), np.repeat(np.arange(8), 50))
    alone = correlate(x, y, np.arange(8))
    assert alike.pearson == pytest.approx(alone.pearson)
    assert alike.pearson_interval == pytest.approx(alone.pearson_interval)
    apart = correlate(np.repeat(x, 50), np.repeat(y, 50), np.arange(400))
    width = [one.pearson_interval.high - one.pearson_interval.low for one in (alike, apart)]
    assert width[1] < width[0] / 3


def test_below_eight_tiles_and_of_equal_time_steps_there_is_no_coefficient():
    x = np.arange(8.0)
    assert correlation_words(correlate(x[:7], x[:7], ONE[:7])) == "too few tiles to tell (7 tiles)"
    assert "Pearson 1.00, Spearman 1.00, 8 tiles" in correlation_words(correlate(x, 2 * x, ONE[:8]))
    fixed = correlate(np.full(8, 999.0), x, ONE[:8])
    assert fixed.pearson is None
    assert correlation_words(fixed) == "the same number on every tile, so nothing to correlate (8 tiles)"


def test_a_tile_without_an_error_of_pixels_is_left_out_and_counted_out():
    x = np.arange(12.0)
    y = np.where(x < 3, np.nan, -x)
    found = correlate(x, y, np.repeat([0, 1, 2, 3], 3))
    assert (found.num_tiles, found.num_images, found.pearson) == (9, 3, pytest.approx(-1.0))
    assert found.pearson_interval is None  # of three images


def test_errors_of_pixels_under_a_tile_are_those_of_the_cells_that_it_covers():
    errors = np.zeros((32, 32), np.float32)
    errors[:, 16:] = 8.0
    found = tile_pixel_errors(errors, (320, 320), (0, 192), (0, 96, 192), (128, 128))
    assert found == pytest.approx(np.array([[0.0, 8 * np.sqrt(0.5), 8.0]] * 2))
    assert tile_pixel_errors(errors, (320, 320), (0,), (0,), (999, 999)) == pytest.approx(8 * np.sqrt(0.5))
    # A tile that reaches beyond a narrow image, and an image below one pixel a cell.
    assert tile_pixel_errors(np.full((32, 32), 3.0), (20, 500), (0,), (0, 480), (64, 64)) == pytest.approx(3.0)


# Names.


def test_codecs_that_are_spelled_alike_are_named_by_what_differs():
    tadm = codec_from("tadm-x16")
    variants = [tadm, replace(tadm, tile=64), replace(tadm, tile=48, overlap=24), codec_from("bicubic-x16")]
    assert labels_of(variants) == [
        "tadm-x16 (tile 96, overlap 32)", "tadm-x16 (tile 64, overlap 32)", "tadm-x16 (tile 48, overlap 24)",
        "bicubic-x16",
    ]  # fmt: skip
    assert labels_of([tadm, replace(tadm, guidance=False)])[1] == "tadm-x16 (guidance false)"
    assert labels_of([tadm]) == ["tadm-x16"]
    assert len(set(labels_of([tadm, tadm]))) == 1


# Score rows, end to end with small networks.


def outspoken(codec):
    """Return a codec whose networks, as random ones do not, say something else of each tile."""
    with torch.inference_mode():
        codec._system.timestep.time_predict.fuse_mlp[0].weight.mul_(1000)
    return codec


@pytest.fixture(scope="module")
def swept():
    """Return codecs of one small network over tiles of two sizes, and the file of its weights."""
    config, url = small_weights("tadm-x16")
    return [replace(config, precision="float32", **settings) for settings in TILE_SETTINGS], url


@pytest.fixture(scope="module")
def judged(swept, tmp_path_factory):
    """Return an evaluation of four pictures: its folder, how it was judged, and the pictures by key."""
    configs, url = swept
    codecs = [*configs, BicubicConfig(scale=16)]
    under_test = [Candidate(name=name, kind="codec") for name in labels_of(codecs)]
    judging = Judging(
        protocol=Protocol(name="regrow", about="made up", metrics=[PsnrConfig()]), reading=Reading(),
        codecs=[one.settings() for one in codecs], codec_digests=[one.digest() for one in codecs],
        candidates=set_candidates(under_test, ["jpeg"], []),
    )  # fmt: skip
    judge = Judge(judging, Runtime(weights=(url,)))
    for name, codec in judge._maker.codecs.items():
        if name.startswith("tadm"):
            outspoken(codec)
    folder, pictures = tmp_path_factory.mktemp("evaluation"), {f"{at}.png": photo(250, 190, seed=at) for at in range(4)}
    for key, picture in pictures.items():
        rows = judge.judge(key, picture, encode(picture)).rows
        put_scores(str(folder), f"work-{key}", rows, judging.protocol.columns())
    return folder, judging, pictures


def test_score_rows_carry_the_tiles_that_the_payload_carries(swept, judged):
    (config, _), url = swept
    folder, judging, pictures = judged
    found = read_tiles(str(folder), judging.settings_of_codecs())
    names = [candidate.name for candidate in judging.candidates if candidate.kind == "codec"]
    assert names[:2] == ["tadm-x16 (tile 16)", "tadm-x16 (tile 24)"]
    assert list(found) == names[:2]
    codec = outspoken(config.load(Runtime(weights=(url,))))
    for key, picture in pictures.items():
        facts = read_facts(codec.encode([picture])[0].extras)
        maps = found[names[0]].of(key)
        assert maps.timesteps.shape == (2, 3)  # of 24 x 32 latents
        assert np.array_equal(maps.timesteps, facts.timestep_map())
        assert np.array_equal(maps.errors, facts.error_map())
        assert np.isfinite(maps.pixel_errors).all()
    assert found[names[1]].of("0.png").timesteps.shape == (1, 2)
    assert found[names[0]].of("gone.png") is None


def test_of_an_archive_the_tiles_are_those_that_it_keeps(swept, judged):
    (config, _), url = swept
    _, judging, pictures = judged
    [payload] = config.load(Runtime(weights=(url,))).encode([pictures["0.png"]])
    kept = replace(payload, extras={"tiles": b"as they were kept"})
    alone = replace(
        judging, codecs=[config.settings()], codec_digests=[config.digest()],
        candidates=[Candidate(name="tadm-x16", kind="codec")],
    )  # fmt: skip
    [row] = Judge(alone, Runtime(weights=(url,))).judge("0.png", pictures["0.png"], b"", Kept(kept)).rows
    assert (row.status, row.tiles) == ("ok", b"as they were kept")


def test_an_evaluation_from_before_tiles_were_kept_reads_as_before(judged, tmp_path):
    folder, judging, _ = judged
    shutil.copytree(folder / "scores", tmp_path / "scores")
    for path in (tmp_path / "scores").iterdir():
        pq.write_table(pq.read_table(path).drop_columns(["tiles"]), path)
    assert read_tiles(str(tmp_path), judging.settings_of_codecs()) == {}
    names = [candidate.name for candidate in judging.candidates]
    tables = [read_all_scores(str(url), ["psnr_rgb"], names).table for url in (folder, tmp_path)]
    assert tables[0].equals(tables[1])


# The report.


@pytest.fixture(scope="module")
def written(judged):
    folder, judging, pictures = judged
    names = [candidate.name for candidate in judging.candidates]
    found = findings([], judging.candidates, [PsnrConfig()], codecs=judging.codecs)
    gallery = [
        GalleryImage(key=key, why="drawn by lot", reference=picture, thumbnail=b"", media_type="", shown=[])
        for key, picture in pictures.items()
    ]
    configs = {name: codec_from(one) for name, one in judging.settings_of_codecs().items()}
    counted = {name: count_parameters(config) for name, config in configs.items()}
    found = replace(
        found, document=replace(found.document, untrained=names[:1]), gallery=gallery,
        table=read_all_scores(str(folder), ["psnr_rgb"], names).table,
        tiles=read_tiles(str(folder), judging.settings_of_codecs()),
        parameters={name: one for name, one in counted.items() if one},
        timings=[Timing(codec=names[0], down_seconds=0.5, up_seconds=1.25, num_images=4, megapixels=0.2)],
    )  # fmt: skip
    return write_report(found)


def test_the_part_on_time_steps_states_their_correlation_beside_every_map(written):
    page = Page(written["report.html"])
    text = page.text
    assert "Predicted time-steps" in text
    assert "predicted time-step, 10 to 200; not an error" in text
    pictures = [one for one in page.all("img") if one.get("class") == "tiles"]
    assert len(pictures) == 4 * 2 * 2  # images, codecs, time-steps and errors
    assert sum("predicted time-step" in one["alt"] for one in pictures) == 8
    # Six tiles an image and two are too few, 24 over all images are not, eight are just enough.
    assert text.count("Correlation with the true error: too few tiles to tell (") == 8
    assert len(text.split("over all images: Pearson ")) == 1 + 8
    assert "24 tiles of 4 images" in text
    assert "tadm-x16 (tile 16) has untrained weights: these time-steps come of random numbers and mean nothing." in text


def test_markdown_json_and_csv_hold_the_same_numbers(written):
    markdown, summary = written["report.md"], json.loads(written["summary.json"])["measured"]["timesteps"]
    section = markdown.partition("## Predicted time-steps\n")[2].partition("\n## ")[0]
    assert "untrained: they mean nothing" in section
    assert "It is no error and no measure of quality" in section
    one = summary["tadm-x16 (tile 16)"]
    assert (one["num_images"], one["num_tiles"], one["latents"]["num_tiles"]) == (4, 24, 24)
    assert f"r = {one['latents']['pearson']:.2f}" in section.replace("\\", "")
    rows = list(csv.DictReader(io.StringIO(written["timesteps.csv"])))
    assert len(rows) == 24 + 8
    mine = [row for row in rows if row["candidate"] == "tadm-x16 (tile 16)"]
    assert [(row["row"], row["column"]) for row in mine[:6]] == [(str(at // 3), str(at % 3)) for at in range(6)]
    x, y = ([float(row[name]) for row in mine] for name in ("predicted_timestep", "latent_error"))
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(one["latents"]["pearson"], abs=1e-3)
    assert "tiles" not in written["scores.csv"].splitlines()[0]


def test_without_time_steps_there_is_no_such_part():
    codec = Candidate(name="bicubic-x8", kind="codec")
    written = write_report(findings([], [codec], [PsnrConfig()]))
    assert "timesteps.csv" not in written
    for name in ("report.html", "report.md"):
        assert "time-step" not in written[name]


def test_time_steps_that_go_with_errors_are_said_to_by_how_much():
    written = told(gather_tiles({f"{at:02d}.jpg": maps(at) for at in range(9)}))
    found = sum_up(gather_tiles({f"{at:02d}.jpg": maps(at) for at in range(9)})).latents
    assert found.pearson > 0.9
    assert f"r = {found.pearson:.2f}" in written["report.html"]
    assert f"95 % {found.pearson_interval.low:.2f} to {found.pearson_interval.high:.2f}" in written["report.html"]
    assert "untrained" not in written["report.html"]


def test_codecs_that_differ_in_their_tiles_are_a_sweep(written):
    section = written["report.md"].partition("## Tile size against metrics\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| tadm")]
    assert [row.split(" | ")[1] for row in rows] == ["16 (128 pixels)", "24 (192 pixels)"]
    assert "bicubic" not in section
    assert "1.25" in rows[0]
    assert "PSNR (RGB) by the size of tiles, tadm-x16" in written["report.html"]


def test_codecs_that_differ_in_more_than_tiles_are_no_sweep():
    codecs = [{"name": "tadm", "scale": 16}, {"name": "tadm", "scale": 16, "tile": 64, "seed": 1}]
    candidates = [Candidate(name=name, kind="codec") for name in labels_of([codec_from(one) for one in codecs])]
    assert "Tile size" not in write_report(findings([], candidates, [PsnrConfig()], codecs=codecs))["report.md"]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_an_evaluation_from_the_command_line_tells_of_time_steps_and_parameters(swept, tmp_path):
    _, url = swept
    source = put_files(str(tmp_path / "photos"), {f"{at}.png": encode(photo(250, 190, seed=at)) for at in range(4)})
    folder = tmp_path / "e"
    arguments = ["evaluate", source, "--codecs", "tadm-x16", "--weights", url, "--allow-untrained", "--to", str(folder)]
    assert cli.run([*arguments, "--metrics", "psnr_rgb", "--baselines", "jpeg"]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["measured"]["timesteps"]["tadm-x16"]["num_images"] == 4
    assert summary["parameters"]["tadm-x16"]["total"] > 0
    markdown = (folder / "report.md").read_text()
    assert "untrained: they mean nothing" in markdown
    assert "Time and parameters" in markdown
    page = Page((folder / "report.html").read_text())
    assert len([one for one in page.all("img") if one.get("class") == "tiles"]) == 2 * 4
    assert len((folder / "timesteps.csv").read_text().splitlines()) == 1 + 4


def test_one_image_is_shown_as_a_map_of_digits_with_its_correlation():
    timesteps, errors, _ = maps(3)
    lines = timestep_lines(timesteps.tolist(), errors.tolist(), untrained=True)
    assert lines[0] == (
        "predicted time-steps", "of 2 x 3 tiles; not an error; the weights are untrained: they mean nothing",
    )  # fmt: skip
    assert lines[1][1] == "of the latents: too few tiles to tell (6 tiles)"
    assert lines[2][1].split() == [f"{one:.0f}" for one in timesteps[0]]
    wide = maps(3, 3, 20)
    told = timestep_lines(wide.timesteps.tolist(), wide.errors.tolist(), untrained=False)
    assert "Pearson 0.9" in told[1][1]
    assert "--json has them all" in told[2][1]


# Time and parameters.


def test_parameters_of_tadm_are_those_of_its_paper_and_checkpoints():
    found = count_parameters(codec_from("tadm-x16"))
    parts = {part.name: part.number for part in found.parts}
    rescaling = sum(number for name, number in parts.items() if name.startswith("rescaling"))
    assert (rescaling, parts["time-step prediction"], parts["scheduler"]) == (12_214_251, 1_196_577, 458_436)
    adapters = 48_651_456 + 2_050_672
    assert found.trainable == 12_214_251 + 1_196_577 + 458_436 + adapters + 11_840
    assert round((found.total + adapters + 340_387_840) / 1e6, 2) == 1354.52  # with the text encoder, as printed
    assert parts["autoencoder's encoder"] + parts["rescaling, down"] + parts["rescaling, both ways"] == found.down
    assert found.down + found.up == found.total + parts["rescaling, both ways"]


def test_what_nobody_published_has_no_trainable_parameters_and_a_codec_without_networks_none():
    assert count_parameters(codec_from("faitheir-x16")).trainable is None
    assert count_parameters(replace(codec_from("tadm-x16"), size="small")).trainable is None
    osirdiff, tadm = (count_parameters(codec_from(name)) for name in ("osirdiff-x32", "tadm-x32"))
    assert tadm.trainable - osirdiff.trainable == 2_050_672
    assert count_parameters(codec_from("bicubic-x16")) is None


def test_time_and_parameters_stand_in_one_table_and_what_was_not_timed_says_so(written):
    section = written["report.md"].partition("## Time and parameters\n")[2].partition("\n## ")[0]
    timed, untimed = (line for line in section.splitlines() if line.startswith("| tadm"))
    assert "| 0.5 s | 1.25 s | 1.75 s |" in timed
    assert "not known" in timed
    assert "not taken" in untimed
    assert "| U-Net |" in written["report.md"]
    counted = json.loads(written["summary.json"])["parameters"]["tadm-x16 (tile 16)"]
    assert counted["total"] == sum(part["number"] for part in counted["parts"]) > counted["up"] > counted["down"] > 0


def test_a_map_is_a_pixel_for_each_tile():
    written = told(
        gather_tiles({"a.jpg": maps(0, 3, 5)}),
        gallery=[GalleryImage(key="a.jpg", why="", reference=photo(), thumbnail=b"", media_type="", shown=[])],
    )["report.html"]
    found = [one for one in Page(written).all("img") if one.get("class") == "tiles"]
    encoded = found[0]["src"].partition("base64,")[2]
    with Image.open(io.BytesIO(b64decode(encoded))) as picture:
        assert picture.size == (5, 3)
