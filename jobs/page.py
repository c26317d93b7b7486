"""One HTML page that shows what a codec kept and what it grew back, and a contact sheet for notebooks."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

from msgspec import Struct

from jobs.page_style import SCRIPT, STYLE

GENERATIVE = (
    "<strong>Lossy and generative: fine detail is invented.</strong> A reconstruction is plausible, not true. Do not "
    "use it for evidence, medicine, documents, faces that must be recognised, or as the sole copy of anything."
)
INTERPOLATED = (
    "<strong>Lossy: interpolated, nothing invented.</strong> Detail that the thumbnail does not hold is gone. Do not "
    "keep it as the sole copy of anything."
)
# Control characters are legal in keys and invisible or forbidden in HTML: show their Unicode pictures instead.
_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}


class PageThumbnail(Struct, frozen=True, kw_only=True):
    """A thumbnail with its key. `width` and `height` are the original's, in pixels."""

    key: str
    width: int
    height: int
    thumbnail: bytes
    thumbnail_media_type: str
    thumbnail_width: int
    thumbnail_height: int


class PageImage(PageThumbnail, frozen=True, kw_only=True):
    """An image of the page. The URLs are data URIs or relative links to what browsers show: see `picture_url`.

    `original_url` is None where the source is gone or is no format of browsers. PSNR is in dB.
    """

    original_url: str | None
    reconstruction_url: str
    source_bytes: int
    psnr: float | None = None
    ssim: float | None = None


class PageTotals(Struct, frozen=True, kw_only=True):
    """Totals of the whole archive, which may hold more images than the page shows."""

    images: int
    failures: int
    original_pixels: int
    source_bytes: int
    thumbnail_bytes: int
    escrow_bytes: int = 0


def render_page(
    title: str,
    codec: str,
    generative: bool,
    images: Sequence[PageImage],
    totals: PageTotals,
    *,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Return a whole HTML document that needs nothing but the pictures it links to.

    `facts` are lines about the archive, such as where it lies and its format. Any text may hold any Unicode.
    """
    body = [
        f"<header><h1>{_text(title)}</h1>",
        f'<p class="codec">Codec {_text(codec)}</p></header>',
        f'<p class="plainly">{GENERATIVE if generative else INTERPOLATED}</p>',
        f'<div class="tables">{_table("Totals", _total_lines(totals))}{_table("Archive", facts or {})}</div>',
        "<main>",
        *(_article(image, generative) for image in images),
        f"</main><footer>{_shown(len(images), totals.images)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{SCRIPT}</script></body></html>\n"
    )


def contact_sheet(images: Sequence[PageThumbnail], more: int) -> str:
    """Return an HTML fragment for notebooks: thumbnails with captions, and how many `more` there are.

    Styles stand in the elements, because notebooks drop style sheets from what they do not trust.
    """
    cells = "".join(_sheet_cell(image) for image in images)
    rest = f'<div style="opacity:.7;font-size:12px;margin-top:8px">and {more:,} more</div>' if more else ""
    return f'<div><div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{cells}</div>{rest}</div>'


def data_uri(picture: bytes, media_type: str) -> str:
    """Return a URL that holds the picture itself."""
    return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"


def picture_url(picture: Path, page: Path, media_type: str, inline_below: int = 200_000) -> str:
    """Return a data URI for a file of fewer than `inline_below` bytes, else its link relative to the file `page`.

    Raises ValueError for a large picture that does not lie in the page's folder or below: the link would break when
    the folder is moved.
    """
    if picture.stat().st_size < inline_below:
        return data_uri(picture.read_bytes(), media_type)
    folder = page.resolve().parent
    if not picture.resolve().is_relative_to(folder):
        raise ValueError(f"{picture} lies outside {folder}, the folder of the page; copy it there to link to it")
    return quote(picture.resolve().relative_to(folder).as_posix())


def size_words(num_bytes: int) -> str:
    """Return bytes for people, in powers of 1000, such as `1.75 MB`."""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    amount, units = num_bytes / 1000, iter(("MB", "GB", "TB", "PB", "EB"))
    unit = "kB"
    while amount >= 999.5:
        amount, unit = amount / 1000, next(units)
    return f"{amount:.3g} {unit}"


def _total_lines(totals: PageTotals) -> dict[str, str]:
    lines = {"Images": f"{totals.images:,}"}
    if totals.failures:
        lines["Failures"] = f"{totals.failures:,}"
    lines |= {
        "Pixels": f"{totals.original_pixels / 1e6:,.1f} megapixels",
        "Source images": size_words(totals.source_bytes),
        "Thumbnails": size_words(totals.thumbnail_bytes),
    }
    if totals.thumbnail_bytes and totals.original_pixels:
        lines["Smaller by"] = f"{totals.source_bytes / totals.thumbnail_bytes:,.1f} times"
        lines["Bits per pixel"] = _bits_per_pixel(totals.thumbnail_bytes, totals.original_pixels)
    if totals.escrow_bytes:
        lines["Escrow (decoder, kept once)"] = size_words(totals.escrow_bytes)
    return lines


def _article(image: PageImage, generative: bool) -> str:
    thumbnail = data_uri(image.thumbnail, image.thumbnail_media_type)
    small = f"{image.thumbnail_width} x {image.thumbnail_height}"
    caption = "Reconstruction, fine detail invented" if generative else "Reconstruction, interpolated"
    figures = (
        _figure("original", image.original_url, f"Original, {image.width} x {image.height} pixels", image)
        + _figure("thumbnail", thumbnail, f"Thumbnail, {small} pixels, enlarged", image)
        + _figure("reconstruction", image.reconstruction_url, caption, image)
    )
    return (
        f'<article style="--ratio:{image.width / image.height:.5f}">'
        f"<h2><bdi>{_text(image.key)}</bdi></h2>{_fact_list(image)}"
        f'<div class="pictures">{figures}</div>{_compare(image)}'
        f'<div class="true-size"><img src="{escape(thumbnail)}" width="{image.thumbnail_width}" '
        f'height="{image.thumbnail_height}" alt=""><span>The thumbnail at its true size</span></div></article>'
    )


def _fact_list(image: PageImage) -> str:
    bits = _bits_per_pixel(len(image.thumbnail), image.width * image.height)
    lines = [
        f"<b>{image.width} x {image.height}</b> pixels",
        f"source <b>{size_words(image.source_bytes)}</b>",
        f"thumbnail <b>{size_words(len(image.thumbnail))}</b>",
        f"<b>{bits}</b> bits per pixel",
    ]
    if image.psnr is not None:
        lines.append("PSNR <b>infinite</b>" if math.isinf(image.psnr) else f"PSNR <b>{image.psnr:.2f} dB</b>")
    if image.ssim is not None:
        lines.append(f"SSIM <b>{image.ssim:.3f}</b>")
    return '<ul class="facts">' + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _figure(name: str, url: str | None, caption: str, image: PageImage) -> str:
    if url is None:
        picture = '<div class="absent">not available</div>'
    else:
        look = ' class="enlarged"' if name == "thumbnail" else ""
        picture = (
            f'<img{look} src="{escape(url)}" width="{image.width}" height="{image.height}" '
            f'alt="{name} of {_text(image.key)}">'
        )
        # browsers refuse to open data URIs on their own
        if not urlsplit(url).scheme:
            picture = f'<a href="{escape(url)}">{picture}</a>'
    return f'<figure class="{name}">{picture}<figcaption>{caption}</figcaption></figure>'


def _compare(image: PageImage) -> str:
    if image.original_url is None:
        return ""
    return (
        '<div class="compare"><label><input type="checkbox" class="switch"> lay the reconstruction over the original'
        '</label><input type="range" min="0" max="100" value="50" aria-label="where the reconstruction begins"></div>'
    )


def _sheet_cell(image: PageThumbnail) -> str:
    text = _text(image.key)
    return (
        f'<figure style="margin:0;width:160px" title="{text}">'
        f'<img src="{escape(data_uri(image.thumbnail, image.thumbnail_media_type))}" alt="{text}" '
        'style="width:160px;height:120px;object-fit:contain;object-position:left bottom;display:block">'
        '<figcaption style="font-size:11px;line-height:1.35;margin-top:4px;overflow-wrap:anywhere">'
        f'<div style="max-height:2.7em;overflow:hidden"><bdi>{text}</bdi></div>'
        f'<span style="opacity:.7">{image.width} x {image.height}</span></figcaption></figure>'
    )


def _table(caption: str, lines: Mapping[str, str]) -> str:
    if not lines:
        return ""
    rows = "".join(f"<tr><th scope=row>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in lines.items())
    return f"<table><caption>{caption}</caption><tbody>{rows}</tbody></table>"


def _shown(shown: int, held: int) -> str:
    if shown >= held:
        return ""
    return f"{shown:,} of {held:,} images are shown here; the totals are of all."


def _bits_per_pixel(thumbnail_bytes: int, original_pixels: int) -> str:
    return f"{thumbnail_bytes * 8 / original_pixels:.4f}"


def _text(text: str) -> str:
    return escape(text.translate(_CONTROL_PICTURES))
