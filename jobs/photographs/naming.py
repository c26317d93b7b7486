"""CREDITS.md: whose photographs these are, under which licence, and what was changed."""

from collections.abc import Iterator

from jobs.photographs.listing import Listing, Package

_LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "GPL-2+": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "LGPL-2.1+": "https://www.gnu.org/licenses/old-licenses/lgpl-2.1.html",
    "LGPL-3": "https://www.gnu.org/licenses/lgpl-3.0.html",
}


def credits_of(listing: Listing) -> str:
    """Return the file's text, in Markdown."""
    lines = [
        "# Credits",
        "",
        f"Photographs from packages of {listing.release}. Changed: halved in width and height, saved as JPEG.",
        "Where two licences are named, package and photograph name different ones.",
    ]
    for package in listing.packages:
        lines += _of(package)
    lines += ["", "## Licences", "", *(f"- {name}: <{url}>" for name, url in _LICENCES.items())]
    return "\n".join(lines) + "\n"


def _of(package: Package) -> Iterator[str]:
    yield from ("", f"## {package}", "", f"{package.terms}.", "")
    yield from ("| photograph | original | author | licence |", "|---|---|---|---|")
    for photograph in package.photographs:
        yield f"| {photograph.name} | {photograph.path} | {photograph.author} | {photograph.licence} |"
