"""How it was measured: protocol, data, codecs, machine and versions, and everything that departs or was left out."""

import json

from jobs.report.findings import Findings
from jobs.report.html import escaped, section, table
from jobs.report.tables import Cell, Told
from ops.statistics import EXACT_FLIPS, FEWEST, FLIPS, RESAMPLES

METHOD = (
    "Means are of images, in the order of their keys. Intervals are the 2.5th and 97.5th percentile of the means of "
    f"{RESAMPLES:,} resamples of the images, none below {FEWEST} images. Paired tests flip the signs of the "
    f"differences, all ways up to {EXACT_FLIPS} images, else {FLIPS:,} random ways. Seeds are fixed: the same scores "
    "give the same tables. A difference is called one where the interval leaves out 0 and the test gives less than 5 "
    "%; nothing is corrected for the number of comparisons. The best candidate at the same bytes is chosen on the same "
    "images, which leans against the codec under test. The images stand for others only as far as they were drawn "
    "from them."
)


def facts_table(findings: Findings) -> Told:
    """Return what decides the scores, and where they were taken."""
    document, plan = findings.document, findings.plan
    judging = document.judging
    own = "the source of each image" if document.kind == "archive" else "themselves"
    lines = {
        "Evaluation": findings.url,
        "Judged": f"{document.kind} {document.target}",
        "References": document.references or own,
        "Seal": document.seal,
        "Selection": json.dumps(document.selection, sort_keys=True) if document.selection else "",
        "Data set": document.data_set,
        "Protocol": f"{judging.protocol.name}: {judging.protocol.about}",
        "Protocol digest": document.protocol_digest,
        "Images of the protocol": judging.protocol.images,
        "Images planned": f"{plan.num_images:,}",
        "Digest of the image list": plan.images_digest,
        "Border cut": f"{judging.protocol.border} pixels",
        "Averaging": judging.protocol.averaging,
        "Threads per forward pass": f"{judging.protocol.threads}",
        "Made by": document.made_by,
        "Machine": document.machine,
        "Versions": document.stack,
    } | {f"Weights of {name}": digest for name, digest in judging.weights.items()}  # fmt: skip
    rows = [[Cell(text=name), Cell(text=value)] for name, value in lines.items() if value]
    return Told(title="Protocol, data and machine", headings=["", ""], groups=[rows])


def codecs_table(findings: Findings) -> Told:
    """Return what each codec is: its configuration and digest."""
    judging = findings.document.judging
    rows = [
        [Cell(text=str(config.get("name", ""))), Cell(text=json.dumps(config, sort_keys=True)), Cell(text=digest)]
        for config, digest in zip(judging.codecs, judging.codec_digests, strict=True)
    ]
    return Told(title="Codecs", headings=["Codec", "Configuration", "Digest"], groups=[rows] if rows else [])


def metrics_table(findings: Findings) -> Told:
    """Return each metric with every setting, and those that were left out."""
    rows = [
        [
            Cell(text=metric.heading),
            Cell(text=metric.column),
            Cell(text=json.dumps(metric.settings(), sort_keys=True)),
            Cell(text="verified" if metric.verified else "unverified", mark="" if metric.verified else "larger"),
        ]
        for metric in findings.document.judging.protocol.metrics
    ]
    rows += [
        [Cell(text=name), Cell(text=name), Cell(text="left out", mark="larger"), Cell(text=why)]
        for name, why in findings.document.left_out.items()
    ]
    return Told(title="Metrics", headings=["Metric", "Column", "Settings", ""], groups=[rows])


def remarks(findings: Findings) -> Told:
    """Return departures from what was published, and the notes of the plan."""
    departures = [("departure", words) for words in findings.document.judging.protocol.departures]
    notes = [("plan", words) for words in findings.plan.notes]
    rows = [[Cell(text=kind), Cell(text=words)] for kind, words in (*departures, *notes)]
    return Told(title="Departures and notes", headings=["", ""], groups=[rows] if rows else [])


def protocol_section(findings: Findings) -> str:
    """Return how it was measured, as HTML."""
    tables = [remarks(findings), facts_table(findings), codecs_table(findings), metrics_table(findings)]
    return section(
        "protocol",
        "Protocol",
        f"<p>{escaped(METHOD)}</p>",
        *(table(one, words=True) for one in tables),
    )
