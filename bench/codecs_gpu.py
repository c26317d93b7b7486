"""Learned codecs on a GPU: megapixels per second either way, memory, and what half precision changes.

Random weights of full size: rates are those of trained ones, differences in levels are not.
"""

import tempfile
import time
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.children import call
from bench.codecs import FLOOR, SPELLING, random_weights
from bench.report import Table, mb
from bench.steps import STEPS, arithmetic, steps_of

# What one call is given, so that a batch of tiles has tiles of several images.
CALL_PIXELS = 1 << 24


class Settings(Struct, frozen=True, kw_only=True):
    """Sizes of images (width, height), and how they are run; `repeats` calls are timed, after one that warms up.

    `matrix` is the side of the square matrices whose product says what the device reaches; `levels` the size of the
    photographs on which precisions are compared.
    """

    device: str = "cuda"
    preset: str = "full"
    sizes: tuple[tuple[int, int], ...] = ((1024, 1024), (2040, 1356), (7680, 4320))
    batches: tuple[int, ...] = (1, 4, 8, 16)
    precisions: tuple[str, ...] = ("bfloat16", "float16", "float32")
    compiled: tuple[bool, ...] = (False, True)
    repeats: int = 3
    call_pixels: int = CALL_PIXELS
    matrix: int = 8192
    levels: tuple[int, int] = (1024, 1024)
    scratch: str | None = None


QUICK = Settings(
    preset="small", sizes=((192, 128),), batches=(1, 4), precisions=("bfloat16", "float32"), compiled=(False,),
    repeats=1, call_pixels=1 << 15, matrix=64, levels=(128, 64),
)  # fmt: skip


def measure(settings: Settings) -> list[Table]:
    """Run every precision in a process of its own. Ends in one line where the device is not there."""
    _refuse_without(settings.device)
    with tempfile.TemporaryDirectory(prefix="regrow-bench-", dir=settings.scratch) as folder:
        weights = random_weights(settings.preset, folder)
        runs: list[dict[str, Any]] = []
        for precision in settings.precisions:
            for compiled in settings.compiled:
                codec = {**weights["codec"], "precision": precision, "compiled": compiled}
                arguments = {"codec": codec, "url": weights["url"], "settings": msgspec.to_builtins(settings)}
                runs.append(call("codecs_gpu:run_rates", arguments))
        levels = call("codecs_gpu:run_levels", {**weights, "settings": msgspec.to_builtins(settings)})
    return [*_rates(runs, settings), _shares(runs), _levels(levels, settings)]


def _refuse_without(device: str) -> None:
    import torch  # noqa: PLC0415  the base install has none

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(
            f"codecs-gpu measures on {device} and torch {torch.__version__} sees no CUDA device: run it on a GPU"
        )


def run_rates(codec: dict[str, Any], url: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return megapixels per second of each size: down, and up by batch, with peaks of the device's memory (a child)."""
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.rescalers.memory import needed_bytes  # noqa: PLC0415

    asked = msgspec.convert(settings, Settings)
    loaded: Any = codec_from(codec).load(Runtime(device=asked.device, weights=(url,)))
    system, rows, steps = loaded._system, [], {}  # noqa: SLF001
    for size in asked.sizes:
        images = _photographs(size, asked.call_pixels)
        megapixels = len(images) * size[0] * size[1] / 1e6
        kept, seconds, peak = _timed(loaded.encode, images, asked)
        rows.append([size, "down", 0, megapixels / seconds, peak, needed_bytes(system)])
        for batch in asked.batches:
            system.passes = replace(system.passes, tile_batch=batch)
            _, seconds, peak = _timed(loaded.decode, kept, asked)
            rows.append([size, "up", batch, megapixels / seconds, peak, needed_bytes(system)])
        for name, run, given in (("down", loaded.encode, images), ("up", loaded.decode, kept)):
            steps[f"{size[0]}x{size[1]} {name}"] = _divided(system, run, given, asked)
    reached = _reached(codec["precision"], asked)
    return {
        "rows": rows,
        "steps": steps,
        "reached": reached,
        **{name: codec[name] for name in ("precision", "compiled")},
    }


def _divided(system: Any, run: Any, given: Any, asked: Settings) -> dict[str, float]:
    """Return the seconds of each step of a call, and of `all`."""
    begun = _now(asked.device)
    with steps_of(system, lambda: _now(asked.device)) as taken:
        run(given)
    return {**taken, "all": _now(asked.device) - begun}


def _timed(run: Any, given: Any, asked: Settings) -> tuple[Any, float, int]:
    """Return what a call gives, the seconds of the fastest, and the device's peak of memory."""
    import torch  # noqa: PLC0415

    made, seconds = run(given), []
    if asked.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    for _ in range(asked.repeats):
        begun = _now(asked.device)
        run(given)
        seconds.append(_now(asked.device) - begun)
    return made, min(seconds), torch.cuda.max_memory_allocated() if asked.device.startswith("cuda") else 0


def _now(device: str) -> float:
    """Return the time once the device has done what it was given."""
    import torch  # noqa: PLC0415

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _reached(precision: str, asked: Settings) -> float:
    """Return TFLOP per second of a product of large matrices: what the device gives at best, float32 without TF32."""
    import torch  # noqa: PLC0415

    from ops.networks.exact import exactly  # noqa: PLC0415

    side = asked.matrix
    a = torch.ones((side, side), dtype=getattr(torch, precision), device=asked.device)
    with exactly(asked.device):
        _, seconds, _ = _timed(a.matmul, a, asked)
    return 2 * side**3 / seconds / 1e12


def _photographs(size: tuple[int, int], call_pixels: int) -> list[Any]:
    import numpy as np  # noqa: PLC0415

    from bench.photographs import load_samples, mosaic  # noqa: PLC0415

    samples = load_samples()
    number = max(1, call_pixels // (size[0] * size[1]))
    return [np.asarray(mosaic(samples, size, seed)) for seed in range(number)]


def run_levels(codec: dict[str, Any], url: str, settings: dict[str, Any]) -> list[list[Any]]:
    """Return differences from float32: of thumbnails of the same image, of images of the same thumbnail (a child)."""
    import numpy as np  # noqa: PLC0415

    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.thumbnails import decode_thumbnail  # noqa: PLC0415

    asked = msgspec.convert(settings, Settings)
    images = _photographs(asked.levels, 1)
    made: dict[str, tuple[Any, Any]] = {}
    kept: Any = None
    for precision in ("float32", *(name for name in asked.precisions if name != "float32")):
        config: Any = codec_from({**codec, "precision": precision})
        loaded = config.load(Runtime(device=asked.device, weights=(url,)))
        payloads: Any = loaded.encode(images)
        kept = kept or payloads
        small = decode_thumbnail(payloads[0].thumbnail, config.thumbnail_size(*asked.levels))
        made[precision] = small.astype(np.int16), loaded.decode(kept)[0].astype(np.int16)
    rows = []
    for precision, pair in made.items():
        for name, one, exact in zip(("thumbnail", "image"), pair, made["float32"], strict=True):
            apart = np.abs(one - exact)
            rows.append([precision, name, int(apart.max()), float(apart.mean()), float(apart.any(axis=2).mean())])
    return rows[2:]


def _rates(runs: list[dict[str, Any]], settings: Settings) -> list[Table]:
    from ops.codecs.names import codec_from  # noqa: PLC0415

    config: Any = codec_from(SPELLING)
    counted = {size: arithmetic(config, *size) for size in settings.sizes}
    rows = []
    for run in runs:
        for (width, height), way, batch, rate, peak, estimate in run["rows"]:
            own = sum(counted[width, height][way].values()) / 1e12 / (width * height / 1e6)
            rows.append([
                f"{width}x{height}", way, run["precision"], run["compiled"], batch or "", rate,
                rate * FLOOR[way][0], own / FLOOR[way][0], f"{rate * own / run['reached']:.0%}", mb(peak), mb(estimate),
            ])  # fmt: skip
    reached = ", ".join(f"{run['precision']} {run['reached']:,.1f}" for run in runs if not run["compiled"])
    return [
        Table(
            title=f"{SPELLING}, {settings.preset} size, on {_device(settings.device)}: random weights",
            columns=["image", "way", "precision", "compiled", "tile_batch", "MP/s", "TFLOP/s of the floor",
                     "counted over floor", "of a matrix product's rate", "device's peak", "as estimated"],
            rows=rows,
            notes=[
                f"whole calls of codec.encode and codec.decode with about {settings.call_pixels / 1e6:.0f} MP, "
                f"thumbnails packed and levels copied; the fastest of {settings.repeats}, after one that warms up",
                f"floor: {FLOOR['down'][0]} TFLOP per MP down, {FLOOR['up'][0]} up; counted: at full size, on "
                f"shapes; products of matrices of {settings.matrix}, TFLOP/s: {reached}",
            ],
        )
    ]  # fmt: skip


def _shares(runs: list[dict[str, Any]]) -> Table:
    rows = []
    for run in runs:
        for name, steps in run["steps"].items():
            shares = [steps.get(step, 0) / steps["all"] for step in STEPS]
            rows.append(
                [name, run["precision"], run["compiled"], *(f"{one:.1%}" for one in (*shares, 1 - sum(shares)))]
            )
    return Table(
        title="Where the time goes, the device waited for after each step",
        columns=["image", "precision", "compiled", *STEPS, "rest"],
        rows=rows,
    )


def _levels(levels: list[list[Any]], settings: Settings) -> Table:
    width, height = settings.levels
    return Table(
        title=f"Half precision against float32, {width}x{height}, in levels",
        columns=["precision", "of", "largest", "mean", "pixels that differ"],
        rows=[[*row[:4], f"{row[4]:.2%}"] for row in levels],
        notes=["images regrown from the same thumbnail; random weights, which are no judge of trained ones"],
    )


def _device(device: str) -> str:
    import torch  # noqa: PLC0415

    return torch.cuda.get_device_name() if device.startswith("cuda") else f"the device {device}"
