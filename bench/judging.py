"""Judging: the pipeline against a bare loop over the same metrics, and what each metric takes of one core."""

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from bench.children import call
from bench.metric_memory import memory
from bench.photographs import make_photographs
from bench.report import Table, verdict

GOAL = 0.95
CODEC = "bicubic-x16"
SIZES = ((640, 480), (768, 512))


class Settings(Struct, frozen=True, kw_only=True):
    """`num_images` photographs, judged in works of `work_images`, by the columns of `metrics` of protocol regrow."""

    num_images: int = 48
    repeats: int = 3
    work_images: int = 2
    metrics: tuple[str, ...] = ("psnr_rgb", "ssim_rgb", "ms_ssim_y", "lpips_alex", "dists")
    pixels: tuple[int, int] = (1536, 1024)
    large: tuple[int, int] = (7680, 4320)


QUICK = Settings(
    num_images=8, repeats=1, work_images=1, metrics=("psnr_rgb", "lpips_alex"), pixels=(256, 192), large=(640, 480)
)


def measure(settings: Settings) -> list[Table]:
    """Run pipeline and bare loop in turn; return the ratio of their rates, and megapixels per second of each metric."""
    with tempfile.TemporaryDirectory(prefix="regrow-bench-") as scratch:
        source = Path(scratch) / "photographs"
        make_photographs(source, settings.num_images, list(SIZES))
        pairs = [_pair(index, settings, source, Path(scratch)) for index in range(settings.repeats)]
    rates = call("judging:run_metrics", {"metrics": list(settings.metrics), "pixels": list(settings.pixels)})
    return [_ratios(pairs, settings), _rates(rates, settings), memory(settings.metrics, settings.large)]


def _pair(index: int, settings: Settings, source: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    from clusters.session import MALLOC  # noqa: PLC0415  the workers of the pipeline have it, so the bare loop too

    runs: dict[str, dict[str, Any]] = {}
    for kind in ("bare", "pipeline") if index % 2 else ("pipeline", "bare"):
        place = scratch / f"{kind}-{index}"
        metrics, images = list(settings.metrics), settings.work_images
        arguments = {"source": str(source), "place": str(place), "metrics": metrics, "images": images}
        runs[kind] = call(f"judging:run_{kind}", arguments, environment=MALLOC)
        shutil.rmtree(place)
    if runs["bare"]["scores"] != runs["pipeline"]["scores"]:
        raise RuntimeError("the two sides gave different scores")
    return runs


def _request(source: str, place: str, metrics: list[str]) -> Any:
    from jobs.protocol_files import read_protocol  # noqa: PLC0415
    from jobs.requests import only  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from pipelines.requests import EvaluateRequest  # noqa: PLC0415

    return EvaluateRequest(
        target=source, codecs=[codec_from(CODEC)], destination=place, baselines=(),
        protocol=only(read_protocol("regrow"), metrics),
    )  # fmt: skip


def run_pipeline(source: str, place: str, metrics: list[str], images: int) -> dict[str, Any]:
    """Evaluate through Ray (a child)."""
    from pipelines import evaluate as module  # noqa: PLC0415

    module.WORK_IMAGES = images
    module.evaluate(_request(source, place, metrics))
    return _result(place, metrics)


def run_bare(source: str, place: str, metrics: list[str], images: int) -> dict[str, Any]:
    """Work through the same plan in a loop, with the same number of threads (a child)."""
    from bench.throughput import _budget  # noqa: PLC0415
    from clusters.costs import STREAMS  # noqa: PLC0415
    from ops.ahead import Ahead  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.decoding import decode  # noqa: PLC0415
    from ops.evaluation.document import create_evaluation  # noqa: PLC0415
    from ops.evaluation.plan import read_index, read_plan, read_work  # noqa: PLC0415
    from ops.judging import Judge, put_judged  # noqa: PLC0415
    from ops.sources import fetch  # noqa: PLC0415
    from pipelines import evaluate as module  # noqa: PLC0415
    from pipelines.judgings import proposed  # noqa: PLC0415

    module.WORK_IMAGES = images
    request = _request(source, place, metrics)
    document = create_evaluation(place, proposed(request, None))
    pairs, notes = module.pairs_to_judge(request, None)
    plan = read_plan(place) or module._write_plan(place, document, pairs, notes, None)  # noqa: SLF001
    budget = _budget()
    threads = budget.num_actors * budget.threads
    judge = Judge(document.judging, Runtime(threads=threads), plan.shares)
    ahead = Ahead(threads, budget.pixel_budget)

    def one(image: tuple[str, bytes]) -> Any:
        return judge.judge(image[0], decode(image[1]).pixels, image[1])

    for row in read_index(place, plan).to_pylist():
        work = read_work(place, row["file"], row["row_group"], row["row"])
        entries = [pair.reference for pair in work.pairs if pair.reference]
        fetched = [content for content in fetch(entries, STREAMS) if isinstance(content, bytes)]
        keys = [pair.key for pair in work.pairs]
        judged = ahead.in_order(one, [(image, 1) for image in zip(keys, fetched, strict=True)])
        put_judged(place, work.id, list(judged), document.judging)
    return _result(place, metrics)


def _result(place: str, metrics: list[str]) -> dict[str, Any]:
    """Return the rate from the first scores on disk to the last but one, and all scores.

    An actor has two works in hand: at both ends of this stretch another one is half done.
    """
    import pyarrow.compute as pc  # noqa: PLC0415

    from ops.evaluation.scores import read_scores  # noqa: PLC0415

    files = sorted(Path(place, "scores").glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    if len(files) < 4:
        raise RuntimeError(f"{len(files)} works have no steady state: judge more images")
    first, last = (path.stat().st_mtime_ns / 1e9 for path in (files[0], files[-2]))
    table = read_scores(place, metrics, [CODEC])
    pixels = pc.sum(pc.multiply(table["width"], table["height"])).as_py()
    return {
        "megapixels_per_second": pixels / 1e6 * (len(files) - 2) / len(files) / (last - first),
        "num_works": len(files),
        "scores": [table[name].to_pylist() for name in metrics],
    }


def run_metrics(metrics: list[str], pixels: list[int]) -> list[list[Any]]:
    """Return megapixels of a pair per second of each metric alone, on one thread (a child)."""
    import numpy as np  # noqa: PLC0415

    from bench.photographs import load_samples, mosaic  # noqa: PLC0415
    from jobs.protocol_files import read_protocol  # noqa: PLC0415
    from jobs.requests import only  # noqa: PLC0415
    from ops.archive.layout import Reading  # noqa: PLC0415
    from ops.candidates import Kept  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.evaluation.document import Candidate, Judging  # noqa: PLC0415
    from ops.judging import Judge  # noqa: PLC0415

    reference = np.asarray(mosaic(load_samples(), (pixels[0], pixels[1]), seed=1))
    codec = codec_from(CODEC)
    kept = codec.load(Runtime()).encode([reference])[0]
    rows: list[list[Any]] = []
    for name in ["", *metrics]:
        protocol = only(read_protocol("regrow"), [name or "psnr_rgb"])
        judging = Judging(
            protocol=protocol, reading=Reading(), codecs=[codec.settings()], codec_digests=[codec.digest()],
            candidates=[Candidate(name=CODEC, kind="codec")],
        )  # fmt: skip
        judge = Judge(judging, Runtime())
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            judge.judge("a", reference, b"", Kept(kept))  # pyright: ignore[reportArgumentType]
            seconds.append(time.perf_counter() - begun)
        rows.append([name, reference.shape[0] * reference.shape[1] / 1e6, min(seconds), median(seconds)])
    return rows


def _ratios(pairs: list[dict[str, dict[str, Any]]], settings: Settings) -> Table:
    def rate(run: dict[str, Any]) -> float:
        return run["megapixels_per_second"]

    ratios = [rate(pair["pipeline"]) / rate(pair["bare"]) for pair in pairs]
    return Table(
        title="Judging: the pipeline against the bare loop",
        columns=["pair", "pipeline MP/s", "bare MP/s", "ratio"],
        rows=[
            [index, rate(pair["pipeline"]), rate(pair["bare"]), f"{ratio:.1%}"]
            for index, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True))
        ],
        notes=[
            f"ratio: median {median(ratios):.1%}, min {min(ratios):.1%}, max {max(ratios):.1%}; goal {GOAL:.0%}: "
            f"{verdict(median(ratios) >= GOAL)}",
            f"{CODEC}, {', '.join(settings.metrics)}; {pairs[0]['bare']['num_works']} works; the same scores to the "
            "last digit on both sides; steady state, each run in a fresh process, the order alternating",
        ],
    )


def _rates(rates: list[list[Any]], settings: Settings) -> Table:
    """Return the rate of each metric, the codec's and PSNR's share of the time taken off."""
    base = rates[0][2]
    return Table(
        title="Megapixels per second of each metric, one pair, one thread",
        columns=["metric", "MP/s", "seconds"],
        rows=[
            [name, megapixels / max(least - (0 if name.startswith("psnr") else base), 1e-9), least]
            for name, megapixels, least, _ in rates[1:]
        ],
        notes=[
            f"a pair of {settings.pixels[0]}x{settings.pixels[1]}, the fastest of three; the {base:.3f} s of decoding "
            "the thumbnail, regrowing, PSNR and the error map are taken off, but for PSNR itself"
        ],
    )
