"""evaluation.json: what is judged, how, against what. Written first; its digest names the folder."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ops.archive.layout import ArchiveError, Reading
from ops.baselines import Format
from ops.images import Pixels
from ops.metrics.protocol import Protocol
from ops.stores import join, open_store

FORMAT = 1
REFERENCE = ""
"""In rows of features, the name of the reference among the candidates."""


class Candidate(Struct, frozen=True, kw_only=True):
    """One way of keeping each image, that is judged.

    `codec`: a codec under test. `baseline`: a conventional format at the bytes that the codec called `codec` takes of
    the same image, in `format`; `down` after the best downscale. `rate`: the same at so many bits per pixel, at the
    best scale.
    """

    name: str
    kind: Literal["codec", "baseline", "rate"]
    codec: str = ""
    format: Format = "jpeg"
    down: bool = False
    rate: float = 0.0
    generative: bool = False
    trained_on: list[str] = []


class Judging(Struct, frozen=True, kw_only=True):
    """What decides the scores of one image; nothing else does.

    `weights` has the digest of the tensors behind each metric's column.
    """

    protocol: Protocol
    reading: Reading
    codecs: list[dict[str, Any]]
    codec_digests: list[str]
    candidates: list[Candidate]
    weights: dict[str, str] = {}

    def settings_of_codecs(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each codec under test by its candidate's name; both stand in one order."""
        names = [candidate.name for candidate in self.candidates if candidate.kind == "codec"]
        return dict(zip(names, self.codecs, strict=True))


class EvaluationDocument(Struct, frozen=True, kw_only=True):
    """evaluation.json. `seal` is an archive's version; `left_out` says of each metric that cannot be taken here why.

    `untrained` names the codecs whose weights are random numbers: what they regrow is noise.
    """

    format: int = FORMAT
    kind: Literal["archive", "source"]
    target: str
    references: str = ""
    seal: str = ""
    selection: dict[str, Any] = {}
    data_set: str = ""
    judging: Judging
    protocol_digest: str
    left_out: dict[str, str] = {}
    untrained: list[str] = []
    made_by: str
    machine: str
    stack: str

    def digest(self) -> str:
        """Return the sha256, in hex, of what decides the scores: not of where or with which versions they are taken."""
        deciding = {
            "kind": self.kind, "target": self.target, "references": self.references, "seal": self.seal,
            "selection": self.selection, "judging": msgspec.to_builtins(self.judging),
        }  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(deciding, order="sorted")).hexdigest()


def set_candidates(codecs: list[Candidate], formats: Sequence[Format], rates: list[float]) -> list[Candidate]:
    """Return all candidates in the order of tables: each codec with its baselines behind it, then rates."""
    found: list[Candidate] = []
    for codec in codecs:
        found.append(codec)
        for name in formats:
            for down in (False, True):
                spelled = f"{name}{'-down' if down else ''}={codec.name}"
                found.append(Candidate(name=spelled, kind="baseline", codec=codec.name, format=name, down=down))
    for rate in rates:
        found += [Candidate(name=f"{name}@{rate:g}", kind="rate", format=name, rate=rate) for name in formats]
    return found


def evaluation_file(url: str) -> str:
    """Return where an evaluation says what is judged."""
    return join(url, "evaluation.json")


def create_evaluation(url: str, document: EvaluationDocument) -> EvaluationDocument:
    """Write evaluation.json, or return the one that is there. Raises ArchiveError where that is another evaluation."""
    content = msgspec.json.format(msgspec.json.encode(document), indent=2)
    if open_store(url).put_new(evaluation_file(url), content):
        return document
    found = read_evaluation(url)
    if found.digest() != document.digest():
        raise ArchiveError(f"{url} holds another evaluation ({found.target}): name another folder with --to")
    return found


def read_evaluation(url: str) -> EvaluationDocument:
    """Return the document of an evaluation. Raises ArchiveError where there is none, or a damaged one."""
    place = join(url, "evaluation.json")
    try:
        return msgspec.json.decode(open_store(url).read(place), type=EvaluationDocument)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArchiveError(f"{url} is no evaluation (it has no evaluation.json): check the path") from error
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{place} cannot be read ({error}): restore it, or remove the folder") from error


def cut_border(pixels: Pixels, border: int) -> Pixels:
    """Return an image without `border` pixels at each side; nothing of it may be left."""
    height, width = pixels.shape[:2]
    return pixels[border : height - border, border : width - border] if border else pixels
