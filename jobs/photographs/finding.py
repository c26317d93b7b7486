"""Finds the .deb files, or has apt download them, and takes only those of the recorded hashes."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import InputError
from jobs.photographs.debs import NotADeb, named_in
from jobs.photographs.listing import Listing, Package

LIMIT_SECONDS = 900


@contextmanager
def found(listing: Listing, folder: Path | None) -> Iterator[dict[str, Path]]:
    """Give the checked .deb of each package, by the package's name; without a folder, apt downloads them for a while.

    Raises InputError for the first that is not there, cannot be downloaded or is another than recorded.
    """
    if folder is not None:
        yield {package.package: find(package, folder) for package in listing.packages}
        return
    with tempfile.TemporaryDirectory(prefix="regrow-debs-") as aside:
        yield {package.package: _download(package, Path(aside)) for package in listing.packages}


def find(package: Package, folder: Path) -> Path:
    """Return the .deb in a folder that has the recorded hash, under whatever version its name says.

    Raises InputError that says what is there instead.
    """
    debs = sorted(folder.glob(f"{package.package}_*.deb"))
    wrong = []
    for deb in debs:
        with deb.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == package.sha256:
            return deb
        wrong.append(_difference(package, deb, digest))
    raise InputError("; ".join([*(wrong or [f"{folder} holds no {package.package}_*.deb"]), remedy(package)]))


def remedy(package: Package) -> str:
    """Return where to get the package from."""
    return (
        f"get {package} from the Debian archive, or from Debian's snapshot archive, which keeps every version, "
        "and name its folder with --debs"
    )


def _difference(package: Package, deb: Path, digest: str) -> str:
    """Return in what a .deb differs from the recorded one: version before length, as versions differ in length too."""
    size = deb.stat().st_size
    length = f"{size:,} of {package.bytes:,} bytes"
    try:
        named = named_in(deb)
    except NotADeb as error:
        return f"{deb} is no whole Debian package ({error}): {length}"
    if named != str(package):
        return f"{deb} is {named}, and the hashes are for {package}"
    if size < package.bytes:
        return f"{deb} is truncated: {length}"
    return f"{deb} calls itself {named} but has sha256 {digest}, not {package.sha256}"


def _download(package: Package, folder: Path) -> Path:
    if shutil.which("apt-get") is None:
        raise InputError(f"there is no apt-get here to download {package}; {remedy(package)}")
    done = _run(["apt-get", "download", f"{package.package}={package.version}"], folder, package)
    if done.returncode != 0:
        raise InputError(f"apt-get cannot download {package}: {_cause(done, package, folder)}; {remedy(package)}")
    return find(package, folder)


def _cause(done: subprocess.CompletedProcess[str], package: Package, folder: Path) -> str:
    """Return which version apt has instead, or its own word of why."""
    shown = _run(["apt-cache", "policy", package.package], folder, package).stdout.splitlines()
    candidates = [line.partition(":")[2].strip() for line in shown if line.strip().startswith("Candidate:")]
    if candidates and candidates[0] not in ("(none)", package.version):
        return f"it has version {candidates[0]}, and the hashes are for {package.version}"
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next((line.removeprefix("E: ") for line in said if line.startswith("E: ")), "it does not say why")


def _run(command: list[str], folder: Path, package: Package) -> subprocess.CompletedProcess[str]:
    """Run apt in a folder. Only fixed words and our own list of packages reach the command."""
    english = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603
            command, cwd=folder, env=english, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{package}: nothing came in {LIMIT_SECONDS} seconds; {remedy(package)}") from error
