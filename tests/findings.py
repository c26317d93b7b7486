"""Makers of findings: of made-up scores, and of the real photographs that come with the repository."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.report.findings import Findings, GalleryImage, Shown, Timing
from ops.archive.layout import Reading
from ops.codecs.base import Runtime
from ops.codecs.names import parse_codec
from ops.evaluation.document import Candidate, EvaluationDocument, Judging
from ops.evaluation.features import SetScore
from ops.evaluation.plan import EvaluationPlan
from ops.evaluation.scores import ScoreRow, to_table
from ops.metrics.base import SetMetricConfig
from ops.metrics.error_map import error_map
from ops.metrics.fid import FidConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.musiq import MusiqConfig
from ops.metrics.protocol import Protocol
from ops.metrics.psnr import PsnrConfig
from ops.metrics.ssim import SsimConfig
from ops.stack import cpu, stack

PHOTOS = Path(__file__).parents[1] / "photos" / "samples"
NANO = Candidate(name="nano-x16", kind="codec", generative=True, trained_on=["lpips"])


METRICS = [PsnrConfig(), LpipsConfig()]


def baseline(form="avif", codec=NANO.name, down=False):
    return Candidate(
        name=f"{form}{'-down' if down else ''}={codec}", kind="baseline", codec=codec, format=form, down=down
    )


def row(key, candidate, scores, **more):
    """Return a score row of a 320 x 320 photograph that takes 100 bytes."""
    facts = {"width": 320, "height": 320, "reference_sha256": "ab" * 32, "reference_bytes": 20_000, "num_bytes": 100}
    return ScoreRow(key=key, candidate=candidate, scores=scores, **(facts | more))


def findings(rows, candidates, metrics=METRICS, **more):
    """Return findings of rows, which are sorted here as they are read back."""
    order = {one.name: place for place, one in enumerate(candidates)}
    rows = sorted(rows, key=lambda one: (one.key.encode(), order[one.candidate]))
    protocol = more.pop("protocol", None) or Protocol(name="regrow", about="made up", metrics=list(metrics))
    keys = {one.key for one in rows}
    document = EvaluationDocument(
        kind=more.pop("kind", "source"), target=more.pop("target", "photos/"), data_set=more.pop("data_set", ""),
        left_out=more.pop("left_out", {}), made_by="regrow 0.1.0", machine=cpu(), stack=stack(),
        protocol_digest=protocol.digest(),
        judging=Judging(
            protocol=protocol, reading=Reading(), candidates=candidates,
            codec_digests=["cd" * 32] * sum(one.kind == "codec" for one in candidates),
            codecs=more.pop("codecs", [{"name": "made-up"}] * sum(one.kind == "codec" for one in candidates)),
        ),
    )  # fmt: skip
    plan = EvaluationPlan(
        files=["a.parquet"], num_works=1, num_images=more.pop("num_planned", len(keys)), images_digest="ef" * 32,
        digest="01" * 32, notes=more.pop("notes", []),
    )  # fmt: skip
    columns = [metric.column for metric in metrics if not isinstance(metric, SetMetricConfig)]
    return Findings(url="evaluations/a", document=document, plan=plan, table=to_table(rows, columns), **more)


def duel(ours, theirs, candidates=None, larger=False, **more):
    """Return findings of nano-x16 against AVIF, from a list of (PSNR, LPIPS) for each."""
    rows = [
        row(f"{place:03d}.jpg", name, {"psnr_rgb": psnr, "lpips_alex": lpips}, num_bytes=size, larger=big)
        for name, size, big, scores in (
            (NANO.name, 100, False, ours),
            ("avif=nano-x16", 300 if larger else 90, larger, theirs),
        )
        for place, (psnr, lpips) in enumerate(scores)
    ]
    return findings(rows, candidates or [NANO, baseline()], **more)


def photographed(side=256, num=3, forms=("jpeg", "webp"), rates=(0.5, 1.0), keys=None):
    """Return findings of the repository's photographs: bicubic, and conventional formats at its bytes and at rates."""
    codec = Candidate(name="bicubic-x8", kind="codec")
    baselines = [baseline(form, codec.name, down) for form in forms for down in (False, True)]
    at_rates = [
        Candidate(name=f"{form}@{rate:g}", kind="rate", format=form, rate=rate) for form in forms for rate in rates
    ]
    candidates = [codec, *baselines, *at_rates]
    metrics = [PsnrConfig(), PsnrConfig(colour="y"), SsimConfig(), FidConfig(network="vgg16")]
    loaded = {metric.column: metric.load(Runtime()) for metric in metrics[:3]}
    rows, gallery = [], []
    for place, path in enumerate(sorted(PHOTOS.glob("*.jpg"))[:num]):
        reference = _shrunk(path, side)
        height, width = reference.shape[:2]
        kept = _keep(reference, candidates)
        key = keys[place] if keys else path.name
        for one in candidates:
            payload, regrown, settings = kept[one.name]
            rows.append(
                row(
                    key, one.name, {column: metric.score(reference, regrown) for column, metric in loaded.items()},
                    width=width, height=height, num_bytes=len(payload.thumbnail), settings=settings,
                    larger=one.kind == "baseline" and len(payload.thumbnail) > len(kept[codec.name][0].thumbnail),
                    error_map=error_map(reference, regrown), reference_bytes=path.stat().st_size,
                    thumbnail_psnr=math.inf if one is codec else None,
                )
            )  # fmt: skip
        payload = kept[codec.name][0]
        shown = [Shown(candidate=one.name, pixels=kept[one.name][1]) for one in candidates]
        gallery.append(
            GalleryImage(
                key=key, why="worst by PSNR (RGB)", reference=reference, thumbnail=payload.thumbnail,
                media_type=payload.media_type, shown=shown,
            )
        )  # fmt: skip
    why = "no weights of Inception here: regrow weights pull"
    return findings(
        rows, candidates, metrics, gallery=gallery, left_out={"fid": why, "kid": why}, kind="archive",
        target="photos.regrow", archive_bytes=120_000, archive_pixels=num * side * side, escrow_bytes=16_600_000,
        sets={one.name: {"fd_vgg16": SetScore(value=40.0 + at, num=12)} for at, one in enumerate(candidates)},
        timings=[Timing(codec=codec.name, down_seconds=0.007, up_seconds=0.0133, num_images=num, megapixels=1.6)],
    )  # fmt: skip


def _shrunk(path, side):
    with Image.open(path) as image:
        image.thumbnail((side, side))
        return np.asarray(image.convert("RGB"))


def _keep(reference, candidates):
    """Return payload, reconstruction and settings of each candidate; the first is the codec."""
    kept = {candidates[0].name: _kept(reference, candidates[0].name)}
    taken = len(kept[candidates[0].name][0].thumbnail)
    for one in candidates[1:]:
        budget = one.rate * reference.shape[0] * reference.shape[1] / 8 if one.kind == "rate" else taken
        kept[one.name] = _fitted(reference, one.format, budget, one.down or one.kind == "rate")
    return kept


def _kept(reference, spelling):
    codec = parse_codec(spelling).load(Runtime())
    [payload] = codec.encode([reference])
    [regrown] = codec.decode([payload])
    return payload, regrown, spelling


def _fitted(reference, form, budget, down):
    """Return the nearest of a few qualities that fits, else the smallest."""
    scale = "-x2" if down else ""
    tried = [_kept(reference, f"{form}-q{quality}{scale}") for quality in (1, 10, 30, 60)]
    fitting = [one for one in tried if len(one[0].thumbnail) <= budget]
    return max(fitting, key=lambda one: len(one[0].thumbnail)) if fitting else tried[0]


def many(num_images=2_000, num_others=9):
    """Return findings of made-up scores: `num_images` of a codec and of nine others."""
    rng = np.random.default_rng(5)
    forms = [baseline(form, down=down) for form in ("jpeg", "webp", "avif", "jxl") for down in (False, True)]
    candidates = [NANO, *forms, Candidate(name="bicubic-x16", kind="codec")][: num_others + 1]
    metrics = [PsnrConfig(), PsnrConfig(colour="y"), SsimConfig(), LpipsConfig(), MusiqConfig()]
    maps = rng.uniform(0, 40, (32, 32)).astype("<f2").tobytes()
    rows = [
        row(
            f"folder/{place:05d}.jpg", one.name,
            {"psnr_rgb": rng.normal(24 + at / 3, 3), "psnr_y": rng.normal(25, 3), "ssim_rgb": rng.uniform(0.4, 0.9),
             "lpips_alex": rng.uniform(0.1, 0.6), "musiq": rng.uniform(20, 80)},
            error_map=maps,
        )
        for place in range(num_images) for at, one in enumerate(candidates)
    ]  # fmt: skip
    return findings(rows, candidates, metrics)
