"""All candidates of one image: codecs under test, conventional formats at the same bytes, and at given rates."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

from msgspec import Struct

from ops.baselines import Baseline, Fit
from ops.codecs.base import Codec, Payload, Runtime, is_broken_device, refusal
from ops.codecs.names import AnyCodec, codec_from
from ops.codecs.resampling import shrink
from ops.evaluation.document import Candidate, Judging
from ops.evaluation.scores import ScoreStatus
from ops.images import Failure, Pixels
from ops.marks import MarkError
from ops.metrics.psnr import psnr
from ops.thumbnails import decode_thumbnail


class Kept(NamedTuple):
    """What an archive keeps of an image."""

    payload: Payload
    alpha_bytes: int = 0


class Made(Struct, kw_only=True):
    """What a candidate made of an image: its reconstruction, or why there is none; other fields as in ScoreRow."""

    candidate: str
    pixels: Pixels | None = None
    status: str = "ok"
    message: str | None = None
    num_bytes: int | None = None
    beside_bytes: int = 0
    settings: str | None = None
    larger: bool = False
    thumbnail_psnr: float | None = None
    payload: Payload | None = None


class Maker:
    """Makes the candidates of image after image. May be called by several threads at once."""

    def __init__(self, judging: Judging, runtime: Runtime) -> None:
        self._judging = judging
        self._codecs: dict[str, tuple[AnyCodec, Codec]] = {}
        for name, settings in judging.settings_of_codecs().items():
            config = codec_from(settings)
            self._codecs[name] = (config, config.load(runtime))
        self._device = threading.Lock()

    @property
    def codecs(self) -> dict[str, Codec]:
        """Return the codecs under test by the names of their candidates."""
        return {name: codec for name, (_, codec) in self._codecs.items()}

    def make(
        self, reference: Pixels, kept: Kept | None = None, settings: Mapping[str, str] | None = None
    ) -> list[Made]:
        """Return what every candidate makes of a reference, in their order.

        With `kept`, that is regrown, as the archive's codec would; without, codecs encode the reference. `settings` are
        those of baselines, by candidate, that were found before: they are not searched again.
        """
        return list(self._made(reference, kept, settings or {}))

    def _made(self, reference: Pixels, kept: Kept | None, settings: Mapping[str, str]) -> Iterator[Made]:
        baselines: dict[str, Baseline] = {}
        budgets: dict[str, int | None] = {}
        for candidate in self._judging.candidates:
            if candidate.kind == "codec":
                made = self._by_codec(candidate, reference, kept)
                budgets[candidate.name] = made.num_bytes
                yield made
                continue
            # One for all numbers of bytes: it keeps the files that it has tried.
            baseline = baselines.setdefault(candidate.format, Baseline(candidate.format, reference))
            if candidate.name in settings:
                yield _of_fit(candidate, baseline.at(settings[candidate.name]))
            elif candidate.kind == "rate":
                yield _of_fit(candidate, baseline.rate(candidate.rate))
            elif (budget := budgets.get(candidate.codec)) is None:
                why = f"{candidate.codec} made nothing whose bytes could be matched"
                yield Made(candidate=candidate.name, status=ScoreStatus.NOT_ENCODED, message=why)
            else:
                yield _of_fit(candidate, baseline.down(budget) if candidate.down else baseline.full(budget))

    def _by_codec(self, candidate: Candidate, reference: Pixels, kept: Kept | None) -> Made:
        config, codec = self._codecs[candidate.name]
        try:
            with nullcontext() if codec.concurrent else self._device:
                payload = codec.encode([reference])[0] if kept is None else kept.payload
        except Exception as error:
            if is_broken_device(error):
                raise
            payload = refusal(error)
        if isinstance(payload, Failure):
            return Made(candidate=candidate.name, status=ScoreStatus.NOT_ENCODED, message=payload.message)
        beside = sum(map(len, payload.extras.values())) + (kept.alpha_bytes if kept else 0)
        made = Made(candidate=candidate.name, num_bytes=len(payload.thumbnail), beside_bytes=beside, payload=payload)
        try:
            with nullcontext() if codec.concurrent else self._device:
                made.pixels = codec.decode([payload])[0]
            made.thumbnail_psnr = _thumbnail_psnr(reference, payload, config)
        except Exception as error:  # whatever a codec's libraries raise over one image ends no run
            if is_broken_device(error):
                raise
            message = str(error) if isinstance(error, MarkError) else refusal(error, "regrow").message
            made.status, made.message = ScoreStatus.NOT_REGROWN, message
        return made


def _of_fit(candidate: Candidate, found: Fit | Failure) -> Made:
    if isinstance(found, Failure):
        return Made(candidate=candidate.name, status=ScoreStatus.NOT_ENCODED, message=found.message)
    return Made(
        candidate=candidate.name, pixels=found.pixels, num_bytes=found.num_bytes, settings=found.settings,
        larger=found.larger,
    )  # fmt: skip


def _thumbnail_psnr(reference: Pixels, payload: Payload, config: AnyCodec) -> float | None:
    """Return how near the thumbnail is to the bicubic one in dB; nothing where they are not of one size."""
    if (payload.height, payload.width) != reference.shape[:2] or config.factor == 1:
        return None
    thumbnail, bicubic = decode_thumbnail(payload.thumbnail), shrink(reference, config.factor)
    return psnr(bicubic, thumbnail) if thumbnail.shape == bicubic.shape else None
