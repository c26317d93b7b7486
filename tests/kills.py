"""Kills archive runs at random moments, runs them again to the end, and compares with a run that nobody disturbed.

    python -m tests.kills [--seed N] [--moments 10] [--images 300] [--s3]

Exit status 1 on any difference. Needs a few minutes.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

import ops.archive.plan as plans
from clusters.session import ENVIRONMENT
from ops.archive.layout import locate
from pipelines.archive import NothingToDo
from pipelines.archive import archive as run
from tests.makers_sources import tar_bytes
from tests.runs import check_invariants, current, photographs, put_files, request
from tests.weed import weed

CHUNK_IMAGES = 8
MOST_RUNS = 12
RUN_SECONDS = 300.0
KINDS: tuple[str, ...] = ("plan", "parts", "attempts", "packs", "catalog", "seals")


class Place(NamedTuple):
    """Where the runs of one trial read and write."""

    source: str
    root: str

    def archive(self, name: str) -> str:
        """Return the URL of an archive of the trial."""
        return f"{self.root}/{name}"


class Moment(NamedTuple):
    """When to kill: as soon as so many objects of a kind lie in the archive, and a little later."""

    kind: str
    number: int
    pause: float

    def __str__(self) -> str:
        return f"{self.number} {self.kind} + {self.pause:.2f} s"


class Outcome(Struct):
    """One row of the table."""

    moments: str
    num_runs: int
    found: str
    verdict: str


def main() -> int:
    """Run the trial that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--drive", nargs=2, metavar=("SOURCE", "ARCHIVE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        drive(*asked.drive)
        return 0
    print(f"seed {asked.seed}, {asked.images} images, {'S3' if asked.s3 else 'local'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="regrow-kills-") as folder, _store(Path(folder), asked.s3) as root:
        return trial(_place(root, asked.images), random.Random(asked.seed), asked.moments)


def drive(source: str, archive: str) -> None:
    """Archive in this process, with small chunks, so that there are many moments."""
    plans.CHUNK_IMAGES = CHUNK_IMAGES
    with contextlib.suppress(NothingToDo):
        run(request(source, archive))


def trial(place: Place, chance: random.Random, num_moments: int) -> int:
    """Kill at random moments, as packs and the seal appear; print the table; return 1 where anything differs."""
    started = time.monotonic()
    if not _run(place.source, place.archive("whole"), None):
        raise RuntimeError(f"an undisturbed run took longer than {RUN_SECONDS:g} s")
    expected = current(place.archive("whole"))
    num_chunks = -(-len(expected) // CHUNK_IMAGES)
    print(f"undisturbed: {len(expected)} images in {time.monotonic() - started:.1f} s\n", flush=True)
    print(f"{'killed at':<60} {'runs':>4}  {'found after the last kill':<44} verdict", flush=True)
    moments = [_moment(chance, 0, num_chunks) for _ in range(num_moments)]
    moments += [Moment("packs", 1, chance.uniform(0, 0.05)), Moment("seals", 1, 0.0)]
    differences = 0
    for number, moment in enumerate(moments):
        archive = place.archive(f"{number}")
        outcome = _killed(place.source, archive, moment, chance, num_chunks)
        outcome.verdict = _verdict(archive, expected)
        differences += outcome.verdict != "same"
        print(f"{outcome.moments:<60} {outcome.num_runs:>4}  {outcome.found:<44} {outcome.verdict}", flush=True)
    print(f"\n{differences} differences", flush=True)
    return 1 if differences else 0


def _moment(chance: random.Random, first: int, num_chunks: int) -> Moment:
    """Return a moment between the plan and the last part."""
    number = chance.randint(first, num_chunks)
    return Moment("parts" if number else "plan", max(number, 1), chance.uniform(0, 0.3))


def _killed(source: str, archive: str, moment: Moment, chance: random.Random, num_chunks: int) -> Outcome:
    """Run with one kill at this moment and perhaps more after it, until a run comes to its end."""
    killed: list[str] = []
    found, next_moment = "", moment
    for num_runs in range(1, MOST_RUNS):
        if _run(source, archive, next_moment):
            return Outcome(", ".join(killed) or "came to its end first", num_runs, found, "")
        killed.append(str(next_moment))
        counts = _counts(archive)
        found = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        # Every second run is killed again, at most twice.
        again = len(killed) < 3 and chance.random() < 0.5
        next_moment = _moment(chance, counts["parts"], num_chunks) if again else None
    return Outcome(", ".join(killed), MOST_RUNS, "never finished", "")


def _run(source: str, archive: str, moment: Moment | None) -> bool:
    """Run a driver; kill it and all that it started at the moment, if any; say if it came to its end."""
    command = [sys.executable, "-m", "tests.kills", "--drive", source, archive]
    driver = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + RUN_SECONDS
    try:
        while driver.poll() is None:
            if time.monotonic() > end:
                return False
            if moment and _counts(archive)[moment.kind] >= moment.number:
                time.sleep(moment.pause)
                return False
            time.sleep(0.01)
        if driver.returncode:
            raise RuntimeError(f"the driver of {archive} ended with {driver.returncode}")
        return True
    finally:
        _kill_session(driver)


def _kill_session(driver: subprocess.Popen[bytes]) -> None:
    """Kill a driver's whole session, as when a machine is switched off: Ray's daemons and workers are part of it."""
    while found := [pid for pid in _pids() if _session(pid) == driver.pid]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(0.1)
    driver.wait()


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _session(pid: int) -> int:
    """Return the session of a living process; 0 for one that is gone or waits to be reaped."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(session)


def _counts(archive: str) -> dict[str, int]:
    """Return how many objects of each kind lie in an archive; both drivers and sweeps may be at work."""
    location, counts = locate(archive), dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        with contextlib.suppress(FileNotFoundError):  # swept while it was listed
            counts[kind] = sum(1 for _ in location.store.walk(location.at(kind)))
    return counts


def _verdict(archive: str, expected: dict[str, tuple[str, str | None]]) -> str:
    try:
        found = current(archive)
        check_invariants(archive)
    except Exception as error:  # noqa: BLE001  a verdict for the table, whatever is wrong
        return f"BROKEN: {type(error).__name__}: {error}"
    wrong = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    return f"DIFFERS in {len(wrong)}: {wrong[0]} is {found.get(wrong[0])}" if wrong else "same"


@contextlib.contextmanager
def _store(folder: Path, s3: bool) -> Iterator[str]:
    """Yield the URL below which a trial reads and writes."""
    os.environ.update({**ENVIRONMENT, "RAY_AUTH_MODE": "disabled"})
    if not s3:
        yield str(folder)
        return
    with weed(folder / "weed") as server:
        os.environ.update(server.environment)
        yield server.url("kills")


def _place(root: str, num_images: int) -> Place:
    """Write the source: files, some of them broken, and a tar."""
    files = photographs(num_images - num_images // 5)
    files["broken.jpg"] = files["000.jpg"][:200]
    files["shard.tar"] = tar_bytes(photographs(num_images // 5, first=num_images))
    return Place(put_files(f"{root}/source", files), root)


if __name__ == "__main__":
    sys.exit(main())
