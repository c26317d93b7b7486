"""Evaluates an archive undisturbed, and killed at random moments and run again, with one worker and with three.

    python -m tests.judged_kills [--seed N] [--moments 4] [--images 2000]

Prints whether the tables are equal to the last digit. Exit status 1 where they are not. Needs some minutes;
`regrow weights pull` must have been run.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

import clusters.session
from clusters.budget import Budget, budget_for
from clusters.machine import Machine
from clusters.session import ENVIRONMENT
from jobs.gathering import gather
from jobs.protocol_files import read_protocol
from jobs.report.findings import Findings
from jobs.requests import only
from ops.evaluation.scores import finished_works
from pipelines.archive import archive
from pipelines.evaluate import evaluate
from pipelines.requests import EvaluateRequest
from tests.kills import RUN_SECONDS, _kill_session
from tests.makers import encode, photo
from tests.runs import put_files, request

METRICS = ["psnr_rgb", "ssim_y", "lpips_alex"]
SIDE = (96, 72)


def main() -> int:
    """Run the trial that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--moments", type=int, default=4)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--drive", nargs=3, metavar=("ARCHIVE", "EVALUATION", "WORKERS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.update({**ENVIRONMENT, "RAY_AUTH_MODE": "disabled"})
    if asked.drive:
        drive(asked.drive[0], asked.drive[1], int(asked.drive[2]))
        return 0
    print(f"seed {asked.seed}, {asked.images} images, metrics {', '.join(METRICS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="regrow-judged-kills-") as folder:
        return trial(Path(folder), asked.images, random.Random(asked.seed), asked.moments)


def evaluation(target: str, destination: str) -> EvaluateRequest:
    """Return what is asked for: pixel metrics, a network, and a baseline."""
    protocol = only(read_protocol("regrow"), METRICS)
    return EvaluateRequest(target=target, protocol=protocol, baselines=("jpeg",), destination=destination)


def drive(target: str, destination: str, workers: int) -> Findings:
    """Evaluate in this process with so many workers, to the end."""

    def budget(machine: Machine) -> Budget:
        return replace(budget_for(machine), num_actors=workers, threads=1, actor_cpus=0.0)

    clusters.session.budget_for = budget
    return gather(evaluate(evaluation(target, destination)))


def trial(folder: Path, num_images: int, chance: random.Random, num_moments: int) -> int:
    """Compare tables of runs with one and three workers, undisturbed and killed; return 1 where any differs."""
    files = {f"{index:05d}.jpg": encode(photo(*SIDE, seed=index), "JPEG") for index in range(num_images)}
    files["broken.jpg"] = files["00000.jpg"][:200]
    target = str(folder / "archive")
    archive(request(put_files(str(folder / "photos"), files), target))
    started = time.monotonic()
    _run(target, str(folder / "whole"), 1, None)
    expected = drive(target, str(folder / "whole"), 1)
    num_works = len(finished_works(str(folder / "whole")))
    print(f"undisturbed, 1 worker: {expected.table.num_rows} rows, {num_works} works, "
          f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    differences = 0
    for number in range(num_moments):
        workers = (3, 1)[number % 2]
        place = str(folder / f"{number}")
        after = [chance.randrange(1, num_works) for _ in range(1 + number % 2)]
        for moment in sorted(after):
            _run(target, place, workers, moment)
        found = drive(target, place, workers)
        same = found.table.equals(expected.table)
        differences += not same
        killed = ", ".join(f"{moment} of {num_works} works" for moment in sorted(after))
        print(f"killed after {killed}; {workers} workers: {'same' if same else 'DIFFERS'}", flush=True)
    _run(target, str(folder / "three"), 3, None)
    same = drive(target, str(folder / "three"), 3).table.equals(expected.table)
    print(f"undisturbed, 3 workers: {'same' if same else 'DIFFERS'}", flush=True)
    return 1 if differences or not same else 0


def _run(target: str, destination: str, workers: int, moment: int | None) -> None:
    """Run a driver; with a moment, kill it and all that it started as soon as so many works are done."""
    command = [sys.executable, "-m", "tests.judged_kills", "--drive", target, destination, str(workers)]
    driver = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + 20 * RUN_SECONDS
    try:
        while driver.poll() is None and time.monotonic() < end:
            if moment is not None and _num_done(destination) >= moment:
                return
            time.sleep(0.05)
        if driver.returncode:
            raise RuntimeError(f"the driver of {destination} ended with {driver.returncode}")
    finally:
        _kill_session(driver)


def _num_done(destination: str) -> int:
    return sum(1 for _ in Path(destination, "scores").glob("*.parquet"))


if __name__ == "__main__":
    sys.exit(main())
