"""`make demo`: the tour that a new user takes, as it is."""

import re
import sys

import pytest

from jobs import demo

SAMPLES = sorted((demo.ROOT / "photos" / "samples").glob("*.jpg"))


@pytest.fixture
def tour(tmp_path, monkeypatch, capsys):
    """Take the tour in a folder; return what it says."""
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path)])

    def take() -> str:
        demo.main()  # a failed command would end it with SystemExit
        return capsys.readouterr().out

    return take


@pytest.mark.ray
@pytest.mark.timeout(900)  # 18 megapixels through AVIF and LPIPS: minutes on a machine that does other things, too
@pytest.mark.usefixtures("ray_here")
def test_the_tour_ends_with_a_page_of_every_photograph_and_can_be_taken_again(tour, tmp_path):
    assert len(SAMPLES) == 6
    said = tour()
    assert "6 photographs archived and regrown" in said
    [report] = (tmp_path / "samples.regrow" / "evaluations").glob("*/report.html")
    assert f"the report    {report}" in said
    assert "Verdict" in report.read_text()
    page = (tmp_path / "index.html").read_text()
    for name in ("PSNR", "SSIM"):
        assert len(re.findall(rf"{name} <b>[0-9]+[.][0-9]+", page)) == len(SAMPLES)
    assert "Escrow (decoder, kept once)" in page
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").rglob("*.png")}
    assert sorted(path.name for path in pictures) == [f"{path.name}.png" for path in SAMPLES]
    again = tour()
    assert "holds everything" in again
    assert "6 pictures that lay there already" in again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").rglob("*.png")} == pictures
