"""The gallery as HTML: each image with its pictures, scores beside them, and a slider."""

from msgspec.structs import replace

from jobs.report.findings import Findings
from jobs.report.gallery import Exhibit, Picture, exhibits
from jobs.report.html import escaped, section
from jobs.report.measured import Aligned
from jobs.report.words import number, told_apart

RECOMPRESSED = (
    "Crops at true pixels, where the first codec errs most. The pictures of this page are recompressed (WebP, quality "
    "90) so that it stays small: look at them, measure on the files."
)


def gallery_section(findings: Findings, aligned: Aligned) -> str:
    """Return the images of the gallery, as many as a page can hold."""
    rates = {one.candidate.name for one in aligned.measured.of_kind("rate")}
    gallery = [
        replace(image, shown=[one for one in image.shown if one.candidate not in rates]) for image in findings.gallery
    ]
    shown, left_out = exhibits(gallery)
    words = [RECOMPRESSED]
    if left_out:
        words.append(f"{left_out} more images were left out to keep this page small.")
    note = f'<p class="note" style="margin-top:0">{escaped(" ".join(words))}</p>'
    articles = [_article(one, aligned) for one in shown]
    return section("images", "Images", note, *articles) if articles else ""


def _article(one: Exhibit, aligned: Aligned) -> str:
    box = one.place.box
    lies = (
        f"{box.right - box.left} x {box.bottom - box.top} pixels of {one.place.width} x {one.place.height}, from "
        f"({box.left}, {box.top})"
    )
    # After the two small pictures a new row begins, so that crops stand below each other.
    crops = "<hr>" + "".join(_crop(one, picture, aligned) for picture in one.pictures)
    derived = "".join(_derived(one, picture, aligned) for picture in one.derived)
    return (
        f'<article class="exhibit"><h2><bdi>{escaped(one.key)}</bdi></h2>'
        f'<p class="why">{escaped(one.why)}; crop: {lies}</p>'
        f'<div class="crops">{_overview(one)}{_thumbnail(one)}{crops}{derived}</div>{_lay()}</article>\n'
    )


def _overview(one: Exhibit) -> str:
    box, width, height = one.place.box, one.place.width, one.place.height
    frame = (
        f"left:{100 * box.left / width:.2f}%;top:{100 * box.top / height:.2f}%;"
        f"width:{100 * (box.right - box.left) / width:.2f}%;height:{100 * (box.bottom - box.top) / height:.2f}%"
    )
    picture = _img(one.overview, f"overview of {one.key}")
    framed = f'<div class="place">{picture}<i style="{frame}"></i></div>'
    return f"<figure>{framed}{_caption('Overview', 'the crop framed')}</figure>"


def _thumbnail(one: Exhibit) -> str:
    if one.thumbnail is None:
        return ""
    note = one.thumbnail_note or f"{one.thumbnail.width} x {one.thumbnail.height}, as it is kept, true pixels"
    return f"<figure>{_img(one.thumbnail, f'thumbnail of {one.key}')}{_caption('Thumbnail', note)}</figure>"


def _crop(one: Exhibit, picture: Picture, aligned: Aligned) -> str:
    if not picture.candidate:
        return f"<figure>{_img(picture, f'original of {one.key}', 'data-original')}{_caption('Original', '')}</figure>"
    name = _name(picture.candidate, aligned)
    over = f'data-over="{escaped(name)}"'
    image = _img(picture, f"{name} of {one.key}", over)
    return f"<figure>{image}{_caption(name, score_line(aligned, one.key, picture.candidate))}</figure>"


def _derived(one: Exhibit, picture: Picture, aligned: Aligned) -> str:
    of = _name(picture.candidate, aligned) if picture.candidate else "the original"
    if picture.name == "difference":
        words = ("Difference", f"{of} and the original, {one.factor} times" if one.factor > 1 else f"{of}, as it is")
    else:
        words = ("Edges", of)
    return f"<figure>{_img(picture, f'{picture.name} of {one.key}, {of}')}{_caption(*words)}</figure>"


def score_line(aligned: Aligned, key: str, candidate: str) -> str:
    """Return bytes and scores of one image, such as `0.0421 bits per pixel; PSNR (RGB) 24.10 dB; SSIM (RGB) 0.71`."""
    lined = aligned.lined.get(candidate)
    place = aligned.places.get(key)
    if lined is None or place is None:
        return ""
    metrics = [one for one in aligned.measured.metrics if not one.of_set and one.verified]
    scores = [f"{one.heading} {number(float(lined.scores[one.column][place]), one.digits)}" for one in metrics]
    larger = ", larger" if lined.larger[place] else ""
    taken = int(lined.num_bytes[place])
    return "; ".join(([f"{taken:,} bytes{larger}"] if taken >= 0 else []) + scores)


def _name(candidate: str, aligned: Aligned) -> str:
    numbers = aligned.measured.candidates.get(candidate)
    return told_apart(numbers.candidate, len(aligned.measured.of_kind("codec"))) if numbers else candidate


def _img(picture: Picture, words: str, more: str = "") -> str:
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img {more} src="{picture.url}" {size} alt="{escaped(words)}">'


def _caption(name: str, words: str) -> str:
    said = f"<br>{escaped(words)}" if words else ""
    return f"<figcaption><b>{escaped(name)}</b>{said}</figcaption>"


def _lay() -> str:
    return (
        '<div class="lay" hidden><div class="controls"><label>lay <select></select> over the original</label>'
        '<input type="range" min="0" max="100" value="50" aria-label="where the reconstruction begins"></div>'
        '<div class="stage"></div><p class="why">Left the original, right the reconstruction, enlarged twice.</p></div>'
    )
