"""Taking up a run of a million images of which nine tenths are done: how long until work begins."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.children import call, nothing
from bench.photographs import make_photographs
from bench.report import Table
from bench.weed import Served, counts_of
from tests.weed import Weed, weed

CODEC = "bicubic-x16"


class Settings(Struct, frozen=True, kw_only=True):
    """Keys in the plan, and the share of its parts that are there."""

    num_images: int = 1_000_000
    share: float = 0.9


QUICK = Settings(num_images=2_000)


def measure(settings: Settings) -> list[Table]:
    """Resume on a local disk and on S3; return the times and what S3 was asked for."""
    rows, notes = [], []
    for kind in ("local disk", "S3 (SeaweedFS on loopback)"):
        with tempfile.TemporaryDirectory(prefix="regrow-bench-") as folder, ExitStack() as stack:
            scratch = Path(folder)
            server = stack.enter_context(weed(scratch / "weed")) if kind.startswith("S3") else None
            archive = server.url("resume.regrow") if server else str(scratch / "resume.regrow")
            answer, asked = _resume(settings, scratch, archive, server)
        rows.append([kind, answer["num_chunks"], answer["num_done"], answer["built"], answer["started"],
                     answer["receipt"], f"{answer['rss'] / 1e6:,.0f} MB"])  # fmt: skip
        notes += [f"{kind}: {name}: {served}" for name, served in asked.items()]
    return [
        Table(
            title=f"Resuming a plan of {settings.num_images:,} images with {settings.share:.0%} of its parts there",
            columns=["store", "chunks", "images done", "set-up s", "to Started s", "to first receipt s",
                     "driver peak RSS"],
            rows=rows,
            notes=["seconds from the call of archive(); the first receipt includes the start of Ray", *notes],
        )
    ]  # fmt: skip


def _resume(
    settings: Settings, scratch: Path, archive: str, server: Weed | None
) -> tuple[dict[str, Any], dict[str, Served]]:
    source = scratch / "source"
    make_photographs(source, 4, [(1200, 1000)])
    environment = server.environment if server else {}
    arguments = {"source": str(source), "archive": archive}
    begun = time.monotonic()
    build = {**arguments, "num_images": settings.num_images, "share": settings.share}
    call("resume:build", build, environment=environment)
    built = time.monotonic() - begun
    asked: dict[str, Served] = {}
    with _counted(server, asked) as marked:
        answer = call("resume:resume", arguments, environment=environment, marked=marked)
    return {**answer, "built": built}, asked


@contextmanager
def _counted(server: Weed | None, asked: dict[str, Served]) -> Iterator[Callable[[str], None]]:
    """Count, at the server, what is asked of it between marks."""
    if server is None:
        yield nothing
        return
    held = [counts_of(server)]

    def marked(name: str) -> None:
        held.append(counts_of(server))
        asked[f"requests up to {name}"] = held[-1].since(held[-2])

    yield marked


def build(source: str, archive: str, num_images: int, share: float) -> None:
    """Write the plan and the parts that are to be there (a child)."""
    from bench.synthetic import PartWriter, new_target, plan_of_few  # noqa: PLC0415
    from ops.sources import ScanReport, scan  # noqa: PLC0415

    target, _ = new_target(source, archive, CODEC)
    plan, chunks = plan_of_few(target, source, scan(source, report=ScanReport()), num_images)
    parts = PartWriter(target.location, target.document, plan)
    for chunk in chunks:
        if chunk.ordinal < share * plan.num_chunks:
            parts.put(chunk, attempt=False)


class _FirstReceipt(KeyboardInterrupt):
    """Ends the run as an interrupt from the keyboard would."""


def resume(source: str, archive: str) -> dict[str, Any]:
    """Resume until the first chunk has come back (a child)."""
    from bench.children import mark, peak_bytes  # noqa: PLC0415
    from pipelines.archive import archive as run  # noqa: PLC0415
    from pipelines.events import Event, Planned, Receipt, Started  # noqa: PLC0415
    from pipelines.requests import ArchiveRequest  # noqa: PLC0415

    seen: dict[str, Any] = {}
    begun = time.monotonic()
    waited = 0.0

    def listen(event: Event) -> None:
        nonlocal waited
        now = time.monotonic() - begun - waited
        if isinstance(event, Planned):
            seen["num_chunks"] = event.plan.num_chunks
        elif isinstance(event, Started):
            seen.update(started=now, num_done=event.num_done)
            mark("Started")
            waited = time.monotonic() - begun - now
        elif isinstance(event, Receipt):
            seen["receipt"] = now
            mark("the first receipt")
            raise _FirstReceipt

    try:
        run(ArchiveRequest(source=source, archive=archive, seal=False), listen)
    except _FirstReceipt:
        return {**seen, "rss": peak_bytes()}
    raise RuntimeError(f"no receipt came: {seen}")
