"""The files of a report: report.html and report.md for people, scores.csv and summary.json for programs."""

import csv
import io
import json
import math
from typing import Any

import msgspec

from jobs.report.findings import Findings
from jobs.report.markdown import render_markdown
from jobs.report.measured import Aligned, as_json, measure
from jobs.report.page import render_html
from jobs.report.verdict import Verdict, verdicts
from ops.codecs.parameters import Parameters
from ops.evaluation.scores import FIXED, OK
from ops.metrics.base import SetMetricConfig

BESIDE = ("error_map", "tiles", "missing")  # columns of the table that have no place of their own in a CSV


def write_report(findings: Findings, aligned: Aligned | None = None) -> dict[str, str]:
    """Return the text of each file of a report, by its name; all of it is UTF-8. Measures unless that was done."""
    aligned = aligned or measure(findings)
    told = verdicts(findings, aligned)
    tiles = {"timesteps.csv": timesteps_csv(findings)} if findings.tiles else {}
    return {
        "report.html": render_html(findings, aligned, told),
        "report.md": render_markdown(findings, aligned, told),
        "scores.csv": scores_csv(findings),
        "summary.json": summary_json(findings, aligned, told),
        **tiles,
    }


def scores_csv(findings: Findings) -> str:
    """Return a line per image and candidate: every column, and beside each metric why it has no number.

    Infinity is `inf`; numbers are as short as reads back to the same; what is missing is empty.
    """
    table = findings.table
    fixed = [name for name in FIXED.names if name not in BESIDE]
    metrics = _metric_columns(findings)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fixed, *(heading for name in metrics for heading in (name, f"{name}_missing"))])
    held = {name: table[name].to_pylist() for name in (*fixed, *metrics)}
    missing = [dict(pairs or []) for pairs in table["missing"].to_pylist()]
    for place, why in enumerate(missing):
        status = held["status"][place]
        cells = [_cell(held[name][place]) for name in fixed]
        for name in metrics:
            value = held[name][place]
            reason = "" if value is not None else why.get(name) or (status if status != OK else "")
            cells += [_cell(value), reason]
        writer.writerow(cells)
    return text.getvalue()


def timesteps_csv(findings: Findings) -> str:
    """Return a line per tile: its image, candidate, row and column, predicted time-step, and true errors."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "candidate", "row", "column", "predicted_timestep", "latent_error", "pixel_error"])
    for name, tiles in findings.tiles.items():
        places = (
            divmod(at, wide) for tall, wide in zip(tiles.rows, tiles.columns, strict=True) for at in range(tall * wide)
        )
        numbers = zip(tiles.images, places, tiles.timesteps, tiles.errors, tiles.pixel_errors, strict=True)
        for image, (row, column), timestep, error, pixels in numbers:
            known = "" if math.isnan(pixels) else f"{pixels:.6g}"
            writer.writerow([tiles.keys[image], name, row, column, f"{timestep:.6g}", f"{error:.6g}", known])
    return text.getvalue()


def summary_json(findings: Findings, aligned: Aligned, told: list[Verdict]) -> str:
    """Return everything that the page says in numbers, and the verdict; infinity is the word "infinite"."""
    document = findings.document
    content = {
        "verdicts": msgspec.to_builtins(told),
        "evaluation": findings.url,
        "document": msgspec.to_builtins(document),
        "plan": msgspec.to_builtins(findings.plan),
        "sets": msgspec.to_builtins(findings.sets),
        "timings": msgspec.to_builtins(findings.timings),
        "parameters": {name: parameters_json(one) for name, one in findings.parameters.items()},
        "archive_bytes": findings.archive_bytes,
        "archive_pixels": findings.archive_pixels,
        "escrow_bytes": findings.escrow_bytes,
        "measured": as_json(aligned.measured),
    }
    return json.dumps(worded(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parameters_json(parameters: Parameters) -> dict[str, Any]:
    """Return parameters by part, and what they come to."""
    sums = {"total": parameters.total, "down": parameters.down, "up": parameters.up}
    return {**msgspec.to_builtins(parameters), **sums}


def worded(content: Any) -> Any:
    """Return plain content with a word for every number that JSON cannot hold."""
    if isinstance(content, dict):
        return {key: worded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [worded(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else "infinite" if content > 0 else "minus infinite"
    return content


def _metric_columns(findings: Findings) -> list[str]:
    metrics = findings.document.judging.protocol.metrics
    return [metric.column for metric in metrics if not isinstance(metric, SetMetricConfig)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
