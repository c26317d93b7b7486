"""A page of an archive: each original beside its thumbnail and its reconstruction, with bytes and scores."""

from pathlib import Path

from jobs.info import escrow_bytes
from jobs.page import PageImage, PageTotals, picture_url, render_page
from ops.archive.layout import Reading
from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.rows import ImageRow
from ops.decoding import decode
from ops.encoding import limits_of
from ops.images import Pixels
from ops.keys import output_name
from ops.metrics.psnr import psnr
from ops.metrics.ssim import ssim
from ops.pictures import write_picture
from ops.readers.base import Entry
from ops.sources import fetch
from ops.thumbnails import decode_thumbnail

MOST_IMAGES = 60
BROWSER_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}


def write_page(archive: Archive, pictures: Path, page: Path, suffix: str) -> Path:
    """Write the page of an archive's first images, whose reconstructions lie in `pictures`; replaces an older page.

    Originals are fetched from their source and laid, as browsers can show them, in `originals` beside the page.
    """
    rows = [row for table in archive.select(where="status == 'ok'") for row in catalog_rows(table)][:MOST_IMAGES]
    images = [_image(archive, row, pictures / output_name(row.key, suffix), page) for row in rows]
    totals = archive.seal.totals
    content = render_page(
        title=f"{archive.location.url.rsplit('/', 1)[-1]}: originals, thumbnails, reconstructions",
        codec=archive.document.codec_name + (" (UNTRAINED weights: noise)" if archive.document.untrained else ""),
        generative=archive.document.generative,
        images=images,
        totals=PageTotals(
            images=totals.num_images,
            failures=totals.num_images - totals.num_good,
            original_pixels=totals.pixels,
            source_bytes=totals.source_bytes,
            thumbnail_bytes=totals.thumbnail_bytes,
            escrow_bytes=escrow_bytes(archive.location),
        ),
        facts={"archive": archive.location.url, "codec digest": archive.document.codec_digest},
    )
    page.write_text(content, encoding="utf-8")
    return page


def _image(archive: Archive, row: CatalogRow, picture: Path, page: Path) -> PageImage:
    facts = archive.facts(row)
    thumbnail = archive.thumbnail(row)
    height, width = decode_thumbnail(thumbnail).shape[:2]
    reading = archive.document.reading
    original = _original(facts, reading)
    scores = _scores(original, picture, reading) if original else (None, None)
    return PageImage(
        key=row.key,
        width=row.width or 0,
        height=row.height or 0,
        thumbnail=thumbnail,
        thumbnail_media_type=row.media_type or "",
        thumbnail_width=width,
        thumbnail_height=height,
        original_url=_lay_beside(original, facts, page, reading) if original else None,
        reconstruction_url=picture_url(picture, page, f"image/{picture.suffix[1:]}"),
        source_bytes=row.source_bytes,
        psnr=scores[0],
        ssim=scores[1],
    )


def _original(facts: ImageRow, reading: Reading) -> bytes | None:
    """Return the source image if it is still there as it was archived."""
    entry = Entry(key=facts.key, uri=facts.uri, locator=facts.locator, size=facts.source_bytes, etag=facts.etag)
    found = fetch([entry], 1, limits_of(reading))[0]
    return found if isinstance(found, bytes) else None


def _lay_beside(original: bytes, facts: ImageRow, page: Path, reading: Reading) -> str:
    shown = BROWSER_SUFFIXES.get(facts.format or "")
    copy = page.parent / "originals" / output_name(facts.key, shown or "png")
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(original if shown else write_picture(_decode(original, reading), None, "png", b""))
    return picture_url(copy, page, f"image/{shown or 'png'}")


def _decode(encoded: bytes, reading: Reading) -> Pixels:
    return decode(encoded, limits_of(reading), reading.background).pixels


def _scores(original: bytes, picture: Path, reading: Reading) -> tuple[float, float]:
    reference, reconstruction = (_decode(encoded, reading) for encoded in (original, picture.read_bytes()))
    return psnr(reference, reconstruction), ssim(reference, reconstruction)
