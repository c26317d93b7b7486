"""What our pictures say of themselves in XMP: a thumbnail how to regrow it, a reconstruction what it is."""

import hashlib
import re
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from ops.images import ImageError, Pixels
from ops.thumbnails import BAND_ROWS, embedded_xmp

NAMESPACE = "urn:regrow:1#"
XMP_BYTES = 1 << 20

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class MarkError(ValueError):
    """A thumbnail whose mark is missing, damaged, or does not fit its pixels."""


class ThumbnailMark(Struct, frozen=True, kw_only=True):
    """What a thumbnail that left its archive must say so that it can be regrown alone.

    `width` and `height` are those of the original. `pixels` is `pixels_digest` of the thumbnail, or empty for
    lossy files, whose pixels depend on the version of their decoder.
    """

    width: int
    height: int
    scale: int
    codec: str
    digest: str
    pixels: str = ""


class ReconstructionMark(Struct, frozen=True, kw_only=True):
    """What a regrown picture says: that it was made, by what, from which thumbnail (its sha256) and which original.

    `derived_from` holds facts of the original by name (format, width, height, bytes, sha256, capture facts).
    """

    archive: str
    key: str
    thumbnail: str
    codec: str
    digest: str
    generative: bool
    derived_from: dict[str, str] = {}


def write_mark(mark: ThumbnailMark) -> bytes:
    """Return the mark as XMP. About 460 bytes: paid for every image."""
    facts = {name: getattr(mark, name) for name in mark.__struct_fields__}
    attributes = " ".join(f"r:{name}={_quoted(value)}" for name, value in facts.items() if value != "")
    return _packet(f'<rdf:Description rdf:about="" xmlns:r="{NAMESPACE}" {attributes}/>')


def read_mark(encoded: bytes) -> ThumbnailMark:
    """Return the mark of a WebP, PNG, JPEG, AVIF or JPEG XL file. Raises MarkError."""
    try:
        xmp = embedded_xmp(encoded)
    except ImageError as error:
        raise MarkError(f"{error}: give a thumbnail as the archive holds it") from error
    facts = properties(xmp)
    if not facts:
        raise MarkError("carries no mark of regrow: metadata was removed, or it never was a thumbnail; "
                        "take it from its archive again")  # fmt: skip
    try:
        return ThumbnailMark(
            width=_positive(facts["width"]),
            height=_positive(facts["height"]),
            scale=_positive(facts["scale"]),
            codec=facts["codec"],
            digest=facts["digest"],
            pixels=facts.get("pixels", ""),
        )
    except (KeyError, ValueError) as error:
        raise MarkError(f"the mark is damaged ({error!r}): take the thumbnail from its archive again") from error


def check_pixels(mark: ThumbnailMark, pixels: Pixels) -> None:
    """Raise MarkError if these are not the pixels that were marked: the file was edited or resaved with loss."""
    if mark.pixels and mark.pixels != pixels_digest(pixels):
        raise MarkError("the pixels are not those that were marked: the thumbnail was edited or resaved with loss, "
                        "and what it hides is gone; take it from its archive again")  # fmt: skip


def pixels_digest(pixels: Pixels) -> str:
    """Return the sha256, in hex, of width, height and the RGB bytes row by row."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}\n".encode())
    for top in range(0, height, BAND_ROWS):
        digest.update(pixels[top : top + BAND_ROWS].tobytes())
    return digest.hexdigest()


def write_reconstruction_mark(mark: ReconstructionMark) -> bytes:
    """Return XMP with IPTC's digital source type, archive, key, codec, and the original as xmpMM:DerivedFrom."""
    kind = "compositeWithTrainedAlgorithmicMedia" if mark.generative else "algorithmicallyEnhanced"
    facts = "".join(
        f'<rdf:li rdf:parseType="Resource"><r:name>{_escaped(name)}</r:name>'
        f"<r:value>{_escaped(value)}</r:value></rdf:li>"
        for name, value in mark.derived_from.items()
    )
    return _packet(
        f'<rdf:Description rdf:about="" xmlns:r="{NAMESPACE}"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
        ' xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"'
        f' Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPES}{kind}" xmp:CreatorTool="regrow"'
        f" r:archive={_quoted(mark.archive)} r:key={_quoted(mark.key)} r:thumbnail={_quoted(mark.thumbnail)}"
        f" r:codec={_quoted(mark.codec)} r:digest={_quoted(mark.digest)}>"
        f'<xmpMM:DerivedFrom rdf:parseType="Resource"><stRef:filePath>{_escaped(mark.key)}</stRef:filePath>'
        f"<r:facts><rdf:Bag>{facts}</rdf:Bag></r:facts></xmpMM:DerivedFrom></rdf:Description>"
    )


def _packet(description: str) -> bytes:
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{description}</rdf:RDF></x:xmpmeta>'
    return text.encode()


def _quoted(value: object) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", str(value)))


def _escaped(value: object) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", str(value)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is not a size")
    return number


def properties(xmp: bytes) -> dict[str, str]:
    """Return our properties in XMP, written as attributes or, as other software rewrites them, as elements."""
    if len(xmp) > XMP_BYTES:
        raise MarkError(f"{len(xmp)} bytes of XMP where {XMP_BYTES} are admitted: take it from its archive again")
    found: dict[str, str] = {}
    open_names: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        open_names.append(name)
        found.update({_local(key): value for key, value in attributes.items() if key.startswith(NAMESPACE)})

    def text(characters: str) -> None:
        if open_names[-1].startswith(NAMESPACE):
            found[_local(open_names[-1])] = found.get(_local(open_names[-1]), "") + characters

    def refuse(*_: object) -> None:
        raise MarkError("its XMP declares a DOCTYPE, which is never needed and can be an attack")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_names.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xmp or b"<none/>", True)
    except expat.ExpatError as error:
        raise MarkError(f"its XMP is damaged ({error}): take the thumbnail from its archive again") from error
    return found


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
