"""The five-minute tour: archive the sample photographs at 16x, regrow them, and write a page to look at."""

import shlex
import sys
from pathlib import Path

from clusters.session import ray_session
from jobs.cli import run
from jobs.compare import write_page
from jobs.page import size_words
from ops.archive.reading import Archive

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the tour in the folder `demo`; what is there already is kept."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    destination, pictures = folder / "samples.regrow", folder / "pictures"
    with ray_session():  # one session for both commands
        _show_and_run("archive", str(ROOT / "photos" / "samples"), str(destination), "--codec", "bicubic-x16")
        _show_and_run("reconstruct", str(destination), str(pictures))
    archive = Archive.open(str(destination))
    page = write_page(archive, pictures, folder / "index.html", "png")
    _say_where(archive, pictures, page)


def _show_and_run(*arguments: str) -> None:
    print(f"\n$ regrow {shlex.join(arguments)}", flush=True)  # noqa: T201
    status = run(list(arguments))
    if status:
        sys.exit(status)


def _say_where(archive: Archive, pictures: Path, page: Path) -> None:
    totals = archive.seal.totals
    kept = f"{size_words(totals.thumbnail_bytes)} of thumbnails for {size_words(totals.source_bytes)} of photographs"
    lines = [
        "",
        f"{totals.num_good} photographs archived and regrown: {kept}.",
        "",
        f"  the page      {page}",
        f"  the archive   {archive.location.url}",
        f"  the pictures  {pictures}",
        "",
        "Open the page in a browser: original, thumbnail and reconstruction side by side, with bytes and scores.",
        "Next: .venv/bin/regrow info " + shlex.quote(archive.location.url),
    ]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
