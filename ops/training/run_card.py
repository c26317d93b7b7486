"""The model card of a run that is done, in Markdown: what it was made of, what it came to, what it is not for."""

from collections.abc import Iterable, Sequence

from ops.training.run_facts import RunFacts

LIMITS = (
    "What it regrows is plausible and not true: fine detail is invented. Not for evidence, medicine, documents, faces "
    "that must be recognised, or sole copies."
)


def card_of(facts: RunFacts) -> str:
    """Return the card."""
    trained = ", ".join(facts.trained_on) or "none of its metrics"
    parts = [
        f"# {facts.codec}",
        LIMITS,
        f"Weights: {facts.weights.parameters:,} numbers in 16 bits, {facts.weights.size_bytes:,} bytes, digest "
        f"`{facts.weights.digest}`, licence {facts.weights.licence}.",
        f"    regrow archive PHOTOS ARCHIVE --codec {facts.codec} --weights weights.safetensors",
        "## Photographs",
        _table(
            ("group", "photographs", "licence"),
            [(one.name or "-", one.photographs, one.licence or "not stated in the job file") for one in facts.groups],
        ),
        f"Left out, as too small or unreadable: {facts.left_out:,}. Held out, which no step saw: "
        f"{', '.join(facts.held_out) or 'none'}.",
        f"sha256 of their list: `{facts.photographs_digest}`. The whole list is at the end.",
        "## Training",
        _table(
            ("stage", "trains", "steps", "crops", "loss", "rate", "precision", "hours"),
            [
                (
                    f"{at} {one.objective}",
                    ", ".join(one.trains),
                    f"{one.steps:,}",
                    f"{one.batch} of {one.side} pixels",
                    ", ".join(f"{weight:g} {term}" for term, weight in one.losses.items() if weight),
                    f"{one.rate:g}",
                    one.precision,
                    f"{one.seconds / 3600:.2f}",
                )
                for at, one in enumerate(facts.stages)
            ],
        ),
        f"On {facts.device} ({facts.stack}), seed {facts.seed}. `job.json` and `photographs.json` are what it was "
        "made of: `regrow train JOB.yaml` repeats it.",
        "## Scores",
        _scores(facts.scores),
        f"Trained on, among these: {trained}. Such a score flatters; PSNR and the others stand beside it. LPIPS "
        "(VGG16) and DISTS look through the same network: where one was trained on, the other is flattered, too.",
        "## Every photograph",
        _table(
            ("key", "group", "pixels", "bytes"),
            [(one.key, one.group or "-", f"{one.width} x {one.height}", f"{one.size:,}") for one in facts.photographs],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(scores: dict[str, float]) -> str:
    if not scores:
        return "No photograph was held out, so that nothing was measured."
    table = _table(("measure", "value"), [(name, f"{value:.4g}") for name, value in scores.items()])
    return f"On the photographs that were held out, their middle of at most 512 pixels a side:\n\n{table}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")
