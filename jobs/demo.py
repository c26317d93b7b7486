"""The five-minute tour: archive the sample photographs at 16x, regrow them, judge them, write pages to look at."""

import shlex
import sys
from pathlib import Path

from clusters.session import ray_session
from jobs.cli import run
from jobs.compare import write_page
from jobs.page import size_words
from ops.archive.reading import Archive

# What a laptop takes of the photographs in about a minute: with the other networks and formats it would be many.
JUDGED = ("--metrics", "psnr_rgb,ssim_rgb,lpips_alex", "--baselines", "jpeg,avif")
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the tour in the folder `demo`; what is there already is kept."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    destination, pictures = folder / "samples.regrow", folder / "pictures"
    with ray_session():  # one session for all commands
        _show_and_run("archive", str(ROOT / "photos" / "samples"), str(destination))
        _show_and_run("reconstruct", str(destination), str(pictures))
        _show_and_run("evaluate", str(destination), *JUDGED)
    archive = Archive.open(str(destination))
    page = write_page(archive, pictures, folder / "index.html", "png")
    # One of an earlier version may lie there, too: the newest has just been written.
    reports = sorted(destination.glob("evaluations/*/report.html"), key=lambda path: path.stat().st_mtime_ns)
    _say_where(archive, {"the page": page, "the report": reports[-1], "the pictures": pictures})


def _show_and_run(*arguments: str) -> None:
    print(f"\n$ regrow {shlex.join(arguments)}", flush=True)  # noqa: T201
    status = run(list(arguments))
    if status:
        sys.exit(status)


def _say_where(archive: Archive, places: dict[str, Path]) -> None:
    totals = archive.seal.totals
    kept = f"{size_words(totals.thumbnail_bytes)} of thumbnails for {size_words(totals.source_bytes)} of photographs"
    lines = [
        "",
        f"{totals.num_good} photographs archived and regrown: {kept}.",
        "",
        *(f"  {name:<13} {place}" for name, place in places.items()),
        f"  the archive   {archive.location.url}",
        "",
        "Open the page in a browser: original, thumbnail and reconstruction side by side, with bytes and scores. The "
        "report\nsays how good they are, compared with what, and which are bad.",
        "Next: .venv/bin/regrow info " + shlex.quote(archive.location.url),
    ]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
