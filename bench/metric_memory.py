"""Memory of judging: what each metric takes for one large pair of images, a process for each."""

import time
from collections.abc import Sequence
from typing import Any

from bench.children import call, peak_bytes
from bench.report import Table, mb, verdict

# Of full-reference metrics on a pair of 33 megapixels, beside its pixels.
BOUND_BYTES = 1_000_000_000


def memory(metrics: Sequence[str], large: tuple[int, int]) -> Table:
    """Return what judging one large pair takes beyond its pixels, a process for each metric."""
    width, height = large
    taken = {
        name: call("metric_memory:run_memory", {"metric": name, "width": width, "height": height})
        for name in metrics
        if not name.startswith(("fd", "kd"))
    }
    return Table(
        title=f"Memory of one pair of {width}x{height}, beyond its pixels and what Python and the network take",
        columns=["metric", "peak", "bytes a pixel", "seconds"],
        rows=[[name, mb(peak), peak / width / height, seconds] for name, (peak, seconds) in taken.items()],
        notes=[f"bound: {mb(BOUND_BYTES)}: {verdict(max(peak for peak, _ in taken.values()) <= BOUND_BYTES)}"],
    )


def run_memory(metric: str, width: int, height: int) -> list[float]:
    """Return by how much the peak of memory rises while one pair is scored, and the seconds (a child)."""
    import numpy as np  # noqa: PLC0415

    from jobs.protocol_files import read_protocol  # noqa: PLC0415
    from jobs.requests import only  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.judging import set_threads  # noqa: PLC0415
    from ops.metrics.base import PairMetric  # noqa: PLC0415
    from ops.metrics.sharing import score_sharing  # noqa: PLC0415

    loaded: Any = only(read_protocol("regrow"), [metric]).metrics[0].load(Runtime())
    set_threads(1)

    def score(reference: Any, reconstruction: Any) -> None:
        if isinstance(loaded, PairMetric):
            loaded.score(reference, reconstruction)
        else:
            score_sharing([loaded], reference, [reconstruction])

    small = np.zeros((256, 256, 3), np.uint8)
    score(small, small)  # libraries are loaded, and threads started
    reference = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    reconstruction = 255 - reference
    before, begun = peak_bytes(), time.perf_counter()
    score(reference, reconstruction)
    return [peak_bytes() - before, time.perf_counter() - begun]
