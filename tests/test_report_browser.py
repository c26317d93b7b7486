"""The report in a real browser, headless Chromium: it opens from a file, its script runs, nothing is asked for."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from jobs.report.files import write_report
from jobs.report.runs import compare_findings, comparison_page
from tests.findings import photographed
from tests.test_report import Page

# Counts what only a browser knows, and leaves it on the page where --dump-dom shows it.
PROBE = """<script>
const broken = [...document.images].filter(image => !image.complete || !image.naturalWidth).length;
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const range = document.querySelector(".lay [type=range]"), choice = document.querySelector(".lay select");
range.focus();
const focused = document.activeElement === range;
range.value = 80; range.dispatchEvent(new Event("input", {bubbles: true}));
choice.selectedIndex = 1; choice.dispatchEvent(new Event("change", {bubbles: true}));
const stage = document.querySelector(".stage"), over = stage.querySelectorAll("img")[1];
const cut = getComputedStyle(over).clipPath;
document.body.dataset.probe = JSON.stringify({broken, wide, focused, cut, over: over.alt,
  asked: performance.getEntriesByType("resource").filter(one => !one.name.startsWith("data:")).length});
</script>"""


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no browser is installed here to open the report in: apt-get install -y chromium")
    return found


@pytest.fixture(scope="module")
def pictured():
    return photographed(num=5)


def look(browser, page, profile, *options):
    """Open a page; return what comes on stdout, and the lines that its console said."""
    found = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return found.stdout, [line for line in found.stderr.splitlines() if "CONSOLE" in line]


def test_the_report_opens_and_its_slider_works(browser, pictured, tmp_path):
    whole = write_report(pictured)["report.html"]
    page = tmp_path / "report.html"
    page.write_text(whole.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    dom, console = look(browser, page, tmp_path / "profile", "--window-size=1344,900", "--dump-dom")
    assert console == []
    seen = Page(dom)
    [body] = seen.all("body")
    probe = body["data-probe"]
    for claim in ('"broken":0', '"wide":0', '"focused":true', '"cut":"inset(0px 0px 0px 80%)"', '"asked":0'):
        assert claim in probe
    assert '"over":"JPEG of krank-level-06.jpg"' in probe
    exhibits = re.findall(r'class="lay"( hidden="")?', dom)
    assert exhibits == [""] * 5  # the script has shown every slider
    assert len(seen.all("option")) == 5 * 5  # a codec and four baselines for each


@pytest.mark.parametrize(("scheme", "bright"), [("1", True), ("0", False)])
def test_the_report_follows_the_scheme_of_the_reader(browser, pictured, tmp_path, scheme, bright):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(write_report(pictured)["report.html"], encoding="utf-8")
    options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1344,1200", f"--screenshot={picture}")
    _, console = look(browser, page, tmp_path / "profile", *options)
    assert console == []
    with Image.open(picture) as image:
        shown = np.asarray(image.convert("L"))
    assert (np.median(shown) > 128) is np.bool_(bright)
    assert shown.std() > 10  # there is something on it


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_a_page_is_no_wider_than_a_telephone(browser, pictured, tmp_path, kind):
    content = write_report(pictured)["report.html"]
    if kind == "comparison":
        content = comparison_page(compare_findings(pictured, pictured))
    (tmp_path / "inner.html").write_text(content, encoding="utf-8")
    # Chromium's window is 500 pixels wide at least; a frame may be narrower.
    page = tmp_path / "outer.html"
    page.write_text(
        '<!doctype html><body><iframe src="inner.html" width="400" height="800"></iframe><script>'
        'addEventListener("load", () => { const inner = frames[0].document.documentElement;'
        "document.body.dataset.widths = `${inner.clientWidth} ${inner.scrollWidth}`; });</script></body>",
        encoding="utf-8",
    )
    dom, _ = look(browser, page, tmp_path / "profile", "--allow-file-access-from-files", "--dump-dom")
    assert 'data-widths="400 400"' in dom
