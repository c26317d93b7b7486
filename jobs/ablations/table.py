"""What ablations come to, side by side, as a table in Markdown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Columns by the names of the curves. No metric of them is among the losses.
COLUMNS = {
    "psnr": ("PSNR, dB", ".2f"),
    "lpips_alex": ("LPIPS AlexNet", ".3f"),
    "lpips_vgg": ("LPIPS VGG16", ".3f"),
    "dists": ("DISTS", ".3f"),
    "thumbnail_psnr": ("thumbnail against bicubic, dB", ".1f"),
    "thumbnail_bytes": ("its bytes", ".2f"),
    "latent_l1": ("error of latents behind stage 1", ".3f"),
    "timestep_pearson": ("time-steps with error", ".2f"),
}
# So many of the last points of a curve are averaged: each is that of a single batch.
LAST = 5


def table(runs: Path, described: Mapping[str, str]) -> list[str]:
    """Return the lines of a table of those runs that are finished; others are named below it."""
    heading = ["ablation", "what it is", *(words for words, _ in COLUMNS.values())]
    lines, missing = [_line(heading), _line(["---"] * len(heading))], []
    for name, what in described.items():
        if not (runs / name / "weights.safetensors").exists():
            missing.append(name)
            continue
        values = _values(runs / name / "curves.jsonl")
        cells = [format(values[column], form) if column in values else "" for column, (_, form) in COLUMNS.items()]
        lines.append(_line([f"`{name}`", what, *cells]))
    return [*lines, *([f"Not trained yet: {', '.join(missing)}."] if missing else [])]


def _values(curves: Path) -> dict[str, float]:
    """Return the last validation of a run, and what error its first stage leaves in latents."""
    points: list[dict[str, Any]] = [json.loads(line) for line in curves.read_text("utf-8").splitlines()]
    errors = [point["latent_l1"] for point in points if point["stage"] == 0 and "latent_l1" in point][-LAST:]
    judged = [point for point in points if "psnr" in point]
    return {**judged[-1], **({"latent_l1": sum(errors) / len(errors)} if errors else {})}


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
