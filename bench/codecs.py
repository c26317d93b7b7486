"""Learned codecs on processors: seconds and memory per image, where they go, and the arithmetic against its floor."""

import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.children import call, peak_bytes
from bench.report import Table, mb
from bench.steps import STEPS, arithmetic, forget_peak, resident_bytes, steps_of

SPELLING = "tadm-x16"
# TFLOP per megapixel that the networks take where nothing is done twice but U-Net tiles' overlap, 96/88 and 96/64.
FLOOR = {"down": (4.4, 4.4), "up": (14.1, 18.0)}


class Settings(Struct, frozen=True, kw_only=True):
    """Sizes of networks that are timed, over which images (width, height), and how; `large` is for memory, `small`.

    `counted` are sizes of images for which arithmetic is counted.
    """

    presets: tuple[str, ...] = ("small", "full")
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    threads: tuple[int, ...] = (1, 2)
    pixels: tuple[int, int] = (512, 512)
    large: tuple[tuple[int, int], ...] = ((1920, 1080), (3840, 2160), (7680, 4320))
    counted: tuple[tuple[int, int], ...] = ((512, 512), (1024, 1024), (2040, 1356), (7680, 4320))
    scratch: str | None = None


QUICK = Settings(
    presets=("small",), precisions=("float32",), threads=(1,), pixels=(128, 64), large=((256, 128), (384, 256)),
    counted=((512, 512),),
)  # fmt: skip


def measure(settings: Settings) -> list[Table]:
    """Time random weights of each size of networks, look at their memory, and count arithmetic."""
    with tempfile.TemporaryDirectory(prefix="regrow-bench-", dir=settings.scratch) as folder:
        weights = {preset: random_weights(preset, folder) for preset in settings.presets}
        times = [
            _timed(weights[preset], preset, precision, threads, settings.pixels)
            for preset in settings.presets
            for precision in settings.precisions
            for threads in settings.threads
        ]
        small = weights.get("small") or random_weights("small", folder)
        memory = [_timed(small, "small", settings.precisions[0], 1, size) for size in settings.large]
    return [_times(times, settings), _memory(memory), _counts(settings)]


def random_weights(preset: str, folder: str) -> dict[str, Any]:
    """Write random weights of a size of networks into a folder, and return settings bound to them and the file."""
    return call("codecs:make_weights", {"preset": preset, "url": str(Path(folder) / f"{preset}.safetensors")})


def make_weights(preset: str, url: str) -> dict[str, Any]:
    """Write random weights, those of U-Net and autoencoder in bfloat16 (a child, whose memory they take twice)."""
    from ops.codecs.learned import LearnedConfig  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.weights.random_weights import make_random  # noqa: PLC0415

    name, _, scale = SPELLING.partition("-x")
    config = codec_from({"name": name, "scale": int(scale), "size": preset})
    assert isinstance(config, LearnedConfig)
    made = make_random(config, 0, "bfloat16", url)
    return {"codec": config.bound(made.digest, made.settings).settings(), "url": url}


def _timed(
    weights: dict[str, Any], preset: str, precision: str, threads: int, pixels: tuple[int, int]
) -> dict[str, Any]:
    from clusters.session import MALLOC  # noqa: PLC0415  as workers have it

    codec = {**weights["codec"], "precision": precision, "threads": threads}
    arguments = {"codec": codec, "url": weights["url"], "width": pixels[0], "height": pixels[1]}
    answer = call("codecs:run_codec", arguments, environment=MALLOC)
    return {"preset": preset, "precision": precision, "threads": threads, "pixels": pixels, **answer}


def run_codec(codec: dict[str, Any], url: str, width: int, height: int) -> dict[str, Any]:
    """Shrink and grow one photograph; return seconds, of which each step's, and the rise of memory (a child)."""
    import numpy as np  # noqa: PLC0415

    from bench.photographs import load_samples, mosaic  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.rescalers.memory import working_bytes  # noqa: PLC0415

    loaded: Any = codec_from(codec).load(Runtime(weights=(url,)))
    system = loaded._system  # noqa: SLF001
    photograph = np.asarray(mosaic(load_samples(), (width, height), seed=1))
    loaded.decode(loaded.encode([photograph[:64, :64]]))  # all weights are read, libraries and threads started
    answer: dict[str, Any] = {"estimate": working_bytes(system)}
    kept: Any = None
    for name in ("down", "up"):
        forget_peak()
        before = resident_bytes()
        with steps_of(system, time.perf_counter) as taken:
            begun, worked = time.perf_counter(), time.process_time()
            kept = loaded.encode([photograph]) if name == "down" else loaded.decode(kept)
            seconds, worked = time.perf_counter() - begun, time.process_time() - worked
        answer[name] = {"seconds": seconds, "worked": worked, "steps": dict(taken), "peak": peak_bytes() - before}
    return answer


def _times(times: list[dict[str, Any]], settings: Settings) -> Table:
    width, height = settings.pixels
    rows = []
    for one in times:
        for name in ("down", "up"):
            seconds, steps = one[name]["seconds"], one[name]["steps"]
            shares = [steps.get(step, 0) / seconds for step in STEPS]
            rows.append([
                one["preset"], one["precision"], one["threads"], name, seconds, one[name]["worked"],
                seconds / (width * height / 1e6),
                *(f"{share:.1%}" for share in (*shares, 1 - sum(shares))), mb(one[name]["peak"]),
            ])  # fmt: skip
    return Table(
        title=f"{SPELLING} on processors: one image of {width}x{height}, random weights",
        columns=[
            "size",
            "precision",
            "threads",
            "way",
            "seconds",
            "of processors",
            "s per MP",
            *STEPS,
            "rest",
            "memory",
        ],
        rows=rows,
        notes=[
            "of processors: seconds that they worked for it, which other work on the machine leaves alone",
            "one run each in a fresh process, after one of 64x64; rest: time-steps, scheduler, levels, thumbnail",
            "memory: peak beyond what the process held, weights and pixels among it, before the image",
        ],
    )


def _memory(runs: list[dict[str, Any]]) -> Table:
    rows = []
    for one in runs:
        width, height = one["pixels"]
        for name in ("down", "up"):
            peak = one[name]["peak"]
            rows.append([f"{width}x{height}", name, one[name]["seconds"], mb(peak), peak / (width * height),
                         mb(one["estimate"])])  # fmt: skip
    return Table(
        title=f"Memory of {SPELLING}, small networks, beyond weights and the image's pixels",
        columns=["image", "way", "seconds", "peak", "bytes a pixel", "of one cell, as estimated"],
        rows=rows,
        notes=["a region or an image is put together in float32: 12 bytes a pixel, beside its cells one by one"],
    )


def _counts(settings: Settings) -> Table:
    from ops.codecs.latent import LatentConfig  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415

    config = codec_from(SPELLING)
    assert isinstance(config, LatentConfig)
    rows = []
    for width, height in settings.counted:
        for name, counted in arithmetic(config, width, height).items():
            per_mp = sum(counted.values()) / 1e12 / (width * height / 1e6)
            low, high = FLOOR[name]
            floor = f"{low}" if low == high else f"{low} to {high}"
            steps = [counted.get(step, 0) / 1e12 for step in STEPS]
            ratio = f"{per_mp / low:.2f}" if low == high else f"{per_mp / low:.2f} to {per_mp / high:.2f}"
            rows.append([f"{width}x{height}", name, *steps, per_mp, floor, ratio])
    return Table(
        title=f"Arithmetic of {SPELLING} at full size, TFLOP, counted",
        columns=["image", "way", *STEPS, "TFLOP per MP", "floor", "ratio"],
        rows=rows,
        notes=[
            f"torch.utils.flop_counter on shapes alone; tiles {config.tile}/{config.overlap} latents, cells "
            f"{config.cell}/{config.cell_overlap} pixels; the floor of going up: tiles 96/88 to 96/64",
        ],
    )
