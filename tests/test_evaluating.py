"""Evaluations from the command line: reports, scores while archiving, comparisons, and wrong use."""

import csv
import io
import json

import pytest

import regrow
from jobs import cli
from ops.evaluation.document import read_evaluation
from ops.evaluation.scores import read_scores
from tests.runs import jpeg, photographs, put_files

FAST = ["--metrics", "psnr_rgb,ssim_rgb", "--baselines", "jpeg"]


@pytest.fixture
def source(tmp_path):
    put_files(str(tmp_path / "photos"), {**photographs(3), "bad.jpg": b"?"})
    return tmp_path / "photos"


def table(url):
    judging = read_evaluation(str(url)).judging
    return read_scores(str(url), judging.protocol.columns(), [candidate.name for candidate in judging.candidates])


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_evaluate_writes_a_report_and_tells_what_it_says(source, tmp_path, capsys):
    arguments = ["evaluate", str(source), "--codecs", "bicubic-x4,bicubic-x8", "--to", str(tmp_path / "e"), *FAST]
    assert cli.run(arguments) == 1
    out, err = capsys.readouterr()
    assert "1 image could not be judged (reference_unreadable 1)" in err
    assert out.startswith(f"{tmp_path / 'e'}\n  images ")
    assert "bicubic-x8 at " in out
    assert {path.name for path in (tmp_path / "e").iterdir() if path.is_file()} == {
        "evaluation.json", "report.html", "report.md", "scores.csv", "summary.json",
    }  # fmt: skip
    assert not (tmp_path / "e" / "attempts").exists()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "e" / "scores.csv").read_text())))
    assert len(rows) == 4 * 6
    assert cli.run([*arguments, "--json"]) == 1  # only the report is made anew
    told = json.loads(capsys.readouterr().out)
    assert told["failures"] == {"reference_unreadable": 1}
    assert [one["codec"] for one in told["verdicts"]] == ["bicubic-x4", "bicubic-x8"]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_scores_are_taken_while_an_archive_is_made_and_while_it_grows(source, tmp_path, capsys):
    arguments = ["archive", str(source), str(tmp_path / "a"), "--codec", "bicubic-x4", "--score", *FAST[:2]]
    assert cli.run(arguments) == 1
    [evaluation] = (tmp_path / "a" / "evaluations").iterdir()
    assert "regrow-at-archiving-" in evaluation.name
    assert str(evaluation / "report.html") in capsys.readouterr().out
    first = {row["key"]: row for row in table(evaluation).to_pylist() if row["candidate"] == "bicubic-x4"}
    assert first["bad.jpg"]["status"] == "no_thumbnail"
    (source / "bad.jpg").write_bytes(jpeg(7))
    (source / "new.jpg").write_bytes(jpeg(8))
    assert cli.run(arguments) == 0
    capsys.readouterr()
    rows = {row["key"]: row for row in table(evaluation).to_pylist() if row["candidate"] == "bicubic-x4"}
    assert {key: row["status"] for key, row in rows.items()} == dict.fromkeys([*first, "new.jpg"], "ok")
    assert rows["001.jpg"] == first["001.jpg"]
    # The same numbers as when it is judged afterwards.
    assert cli.run(["evaluate", str(tmp_path / "a"), "--to", str(tmp_path / "e"), *FAST[:2]]) == 0
    assert table(tmp_path / "e").equals(table(evaluation))
    assert cli.run(["compare", str(evaluation), str(tmp_path / "e"), "--to", str(tmp_path / "c.html")]) == 0
    out = capsys.readouterr().out
    assert "5 images in both" in out
    assert "the same on every image" in out
    assert "<html" in (tmp_path / "c.html").read_text()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_retry_scores_what_it_archives_and_images_without_scores_are_counted(source, tmp_path, capsys):
    assert cli.run(["archive", str(source), str(tmp_path / "a"), "--codec", "bicubic-x4"]) == 1
    (source / "bad.jpg").write_bytes(jpeg(7))
    assert cli.run(["retry", str(tmp_path / "a"), "--score", "--json", *FAST[:2]]) == 0
    told = capsys.readouterr().out
    assert json.loads(told[told.index("{") :])["evaluation"]["images"] == 4
    [evaluation] = (tmp_path / "a" / "evaluations").iterdir()
    assert set(table(evaluation)["key"].to_pylist()) == {"bad.jpg"}
    assert "1 of 4 planned images" in (evaluation / "report.md").read_text()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_what_could_not_be_judged_is_judged_again_when_asked(source, tmp_path, capsys):
    (source / "bad.jpg").unlink()
    cli.run(["archive", str(source), str(tmp_path / "a"), "--codec", "bicubic-x4"])
    (source / "001.jpg").rename(tmp_path / "away.jpg")
    arguments = ["evaluate", str(tmp_path / "a"), "--to", str(tmp_path / "e"), *FAST]
    assert cli.run(arguments) == 1
    assert "1 image could not be judged (no_reference 1); --again tries them anew" in capsys.readouterr().err
    (tmp_path / "away.jpg").rename(source / "001.jpg")
    (source / "001.jpg").touch()  # a copy that was put back is the same image
    assert cli.run(arguments) == 1, "what is done stays"
    assert cli.run([*arguments, "--again"]) == 0
    assert set(table(tmp_path / "e")["status"].to_pylist()) == {"ok"}


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_notebooks_get_verdicts_and_a_report(source, tmp_path):
    found = regrow.evaluate(
        source, codecs=["bicubic-x4"], metrics=["psnr_rgb"], baselines=(), destination=str(tmp_path / "e")
    )
    assert (found.images, found.failures) == (4, {"reference_unreadable": 1})
    assert found.verdicts[0].headline.startswith("bicubic-x4 at ")
    assert found.report == str(tmp_path / "e" / "report.html")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "photos", "--metrics", "psnr"], "no metric 'psnr': protocol regrow has psnr_rgb, psnr_y, "),
        (["evaluate", "photos", "--protocol", "tadm"], "no protocol 'tadm' (did you mean tadm-iccv25?)"),
        (["evaluate", "photos", "--baselines", "gif"], "no baseline 'gif': there are jpeg, webp, avif, jxl, or none"),
        (["evaluate", "photos", "--rates", "small"], "rate 'small': write bits per pixel"),
        (["evaluate", "photos", "--rates", "0"], "rates: 0 bits per pixel; write numbers above 0, up to 24"),
        (["evaluate", "photos", "--codecs", "bicubic-x8,bicubic-x8"], "codecs names one twice: bicubic-x8, bicubic-x8"),
        (["evaluate", "photos", "--codecs", "magic-x8"], "no codec 'magic-x8'"),
        (["evaluate", "photos", "--data-set", "div3k"], "no data set 'div3k' (did you mean div"),
        (["archive", "photos", "a", "--metrics", "psnr_rgb"], "add --score, or leave them out"),
    ],
)
def test_wrong_use_is_refused_in_one_line(arguments, said, capsys):
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "{0}/none", "{0}/none"], "is no evaluation (it has no evaluation.json): check the path"),
        (["evaluate", "{0}/none", "--codecs", "bicubic-x8"], "does not exist; check the spelling"),
        (["evaluate", "{0}", "--codecs", "bicubic-x8", "--data-set", "kodak"], "kodak"),
        (["evaluate", "{0}", "--codecs", "bicubic-x8", "--match", "a*"], "is no archive: match select of one"),
        (["evaluate", "{0}", "--codecs", "bicubic-x8", "--references", "x"], "is no archive: references select of one"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run([argument.format(tmp_path) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "something was left behind"
