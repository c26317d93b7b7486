"""archive, retry, seal, run."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal

import typer

from jobs.commands.options import (
    Address,
    AllowUntrained,
    ArchiveArgument,
    DryRun,
    Json,
    Quiet,
    Score,
    ScoreMetrics,
    ScoreProtocol,
    Weights,
)

Changed = Literal["refuse", "skip", "new"]
Escrow = Literal["full", "reference"]
Metadata = Literal["keep", "no-location", "none"]
# Written out: the codecs themselves import numpy, which help must not wait for.
CODECS = (
    "What shrinks images, and regrows them: bicubic-xN (N times per side), or of quality N jpeg-qN[-xN], webp-qN[-xN], "
    "avif-qN[-xN], jxl-qN[-xN]; or learned: nano-xN (weights for nano-x16 come with regrow), or with weights of your "
    "own tadm-xN, osirdiff-xN, faitheir-xN, vae[-xN]."
)


def archive(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, a tar, zip or Parquet file, a list of URIs, or a URL.")
    ],
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="Where it is to lie: a new folder or URL, or an archive to add to.")
    ],
    *,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="NAME-xN",
            show_default="nano-x16 for a new archive, else its own",
            help=CODECS,
        ),
    ] = None,
    weights: Weights = None,
    escrow: Annotated[
        Escrow | None, typer.Option(help="Whether large weights travel with the archive: to be said once.")
    ] = None,
    allow_untrained: AllowUntrained = False,
    no_preflight: Annotated[
        bool, typer.Option("--no-preflight", help="Do not compare a learned codec with bicubic before a large run.")
    ] = False,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", show_default="#ffffff", help="Under transparent pixels.")
    ] = None,
    metadata: Annotated[
        Metadata | None, typer.Option(show_default="keep", help="What stays of EXIF, ICC, XMP.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(metavar="N", show_default="400 million", help="Larger images become failures.")
    ] = None,
    max_side: Annotated[int | None, typer.Option(metavar="N", show_default="65535", help="The same, per side.")] = None,
    max_encoded_bytes: Annotated[
        int | None, typer.Option(metavar="N", show_default="1 GiB", help="The same, for files.")
    ] = None,
    changed: Annotated[Changed, typer.Option(help="Images that changed since they were archived.")] = "refuse",
    all_files: Annotated[bool, typer.Option("--all-files", help="Also files not named like images.")] = False,
    no_seal: Annotated[bool, typer.Option("--no-seal", help="Leave the merging to `regrow seal`.")] = False,
    score: Score = False,
    protocol: ScoreProtocol = None,
    metrics: ScoreMetrics = None,
    address: Address = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Archive every image of a source, finish what was begun, or add what is new."""
    from jobs.output import Show
    from jobs.requests import archive_request, score_request
    from jobs.running import perform

    given = {
        "background": background, "metadata": metadata, "max_pixels": max_pixels, "max_side": max_side,
        "max_encoded_bytes": max_encoded_bytes,
    }  # fmt: skip
    rest = {
        "changed": changed, "all_files": all_files, "seal": not no_seal, "address": address,
        "score": score_request(protocol, metrics, wanted=score), "weights": tuple(weights or ()), "escrow": escrow,
        "allow_untrained": allow_untrained, "preflight": not no_preflight,
    }  # fmt: skip
    request = archive_request(source, archive, codec, given, **rest)
    if dry_run:
        from jobs.estimating import dry_run_of

        return dry_run_of(request, json=json)
    return perform(request, Show(command=context.obj, json=json, quiet=quiet))


def retry(
    context: typer.Context,
    archive: ArchiveArgument,
    *,
    code: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only failures with this code; may be repeated.")
    ] = None,
    weights: Weights = None,
    score: Score = False,
    protocol: ScoreProtocol = None,
    metrics: ScoreMetrics = None,
    address: Address = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Try an archive's failures again."""
    from jobs.output import Show
    from jobs.requests import RetryRequest, failure_codes, score_request
    from jobs.running import perform

    scores = score_request(protocol, metrics, wanted=score)
    request = RetryRequest(
        archive=archive, codes=failure_codes(code or []), score=scores, weights=tuple(weights or ()), address=address
    )
    return perform(request, Show(command=context.obj, json=json, quiet=quiet))


def seal(
    context: typer.Context,
    archive: ArchiveArgument,
    *,
    address: Address = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Merge finished parts into packs and write the catalog."""
    from jobs.output import Show
    from jobs.requests import SealRequest
    from jobs.running import perform

    return perform(SealRequest(archive=archive, address=address), Show(command=context.obj, json=json, quiet=quiet))


def run(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A YAML file; examples are in jobs/examples.")],
    *,
    run_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Run this once: what is done under ID is not run again, and never twice at once."
        ),
    ] = None,
    some_may_fail: Annotated[
        bool,
        typer.Option(
            "--some-may-fail",
            help="Exit status 0 for a run that came to its end though images failed: for what restarts on others.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run what a job file asks for."""
    from jobs.notifying import read_notify
    from jobs.output import Show
    from jobs.running import perform
    from jobs.spec import read_job

    request, notify = read_job(job), read_notify(job)
    show = Show(command=context.obj, json=json, quiet=quiet, notify=notify, some_may_fail=some_may_fail)
    if run_id is None:
        return perform(request, show)
    from jobs.runs.once import perform_once
    from jobs.runs.record import check_id
    from jobs.runs.recording import Run

    return perform_once(request, show, Run(id=check_id(run_id)))
