"""The training photographs rebuilt from .debs: two small packages made here, without dpkg, apt or network."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from jobs.errors import InputError
from jobs.photographs.halving import encode, halve
from jobs.photographs.listing import Listing, Package, Photograph, read_listing
from jobs.photographs.rebuilding import CREDITS, rebuild

ROOT = Path(__file__).parent.parent


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def original(seed, suffix, mode="RGB"):
    """A smooth picture of odd sides, as the file that a package would hold."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, len(mode)), np.uint8)
    picture, file = Image.fromarray(noise).resize((65, 43), Image.Resampling.BICUBIC), io.BytesIO()
    picture.save(file, {"jpg": "JPEG", "png": "PNG"}[suffix])
    return file.getvalue()


def tar(compression, files, links=()):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links:
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return file.getvalue()


def deb(name, version, files, links=()):
    """A .deb: an ar archive whose members begin at even offsets."""
    control = f"Package: {name}\nVersion: {version}\nDescription: photographs\n and: more of them\n".encode()
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tar("gz", {"control": control, "md5sums": b"odd"}),
        "data.tar.xz": tar("xz", files, links),
    }
    parts = [b"!<arch>\n"]
    for member, content in members.items():
        parts.append(f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
        parts.append(content + b"\n" * (len(content) % 2))
    return b"".join(parts)


def photograph(name, path, content):
    """The record, made apart from the code that is tested."""
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB").resize((32, 21), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=94, subsampling=0, optimize=True)
    return Photograph(
        name=name, path=path, sha256=sha256(content), width=32, height=21, pixels=sha256(small.tobytes()),
        jpeg=sha256(file.getvalue()), licence="CC-BY-4.0", author="Ada",
    )  # fmt: skip


REEF, KITE = original(1, "jpg"), original(2, "png", "RGBA")
FILES = {"usr/share/a/reef.jpg": REEF, "usr/share/a/other.jpg": b"not listed", "usr/share/a/kite.png": KITE}
LINKS = [("usr/share/a/link.jpg", "reef.jpg")]


@pytest.fixture
def debs(tmp_path):
    folder = tmp_path / "debs"
    folder.mkdir()
    # Debian writes the colon of an epoch so in names of files.
    (folder / "reefs_2%3a1.0-1_all.deb").write_bytes(deb("reefs", "2:1.0-1", FILES, LINKS))
    return folder


def listed(debs, **changes):
    """The list that belongs to the package in the folder."""
    content = next(debs.glob("reefs_*.deb")).read_bytes()
    package = Package(
        package="reefs", version="2:1.0-1", bytes=len(content), sha256=sha256(content), terms="said by the test",
        photographs=(
            photograph("reefs-kite.jpg", "usr/share/a/kite.png", KITE),
            photograph("reefs-reef.jpg", "usr/share/a/reef.jpg", REEF),
        ),
    )  # fmt: skip
    return Listing(release="Debian 12", packages=(msgspec.structs.replace(package, **changes),))


def changed(listing, **changes):
    """The same list with its second photograph changed."""
    package = listing.packages[0]
    first, second = package.photographs
    photographs = (first, msgspec.structs.replace(second, **changes))
    return msgspec.structs.replace(listing, packages=(msgspec.structs.replace(package, photographs=photographs),))


def refused(listing, folder, debs):
    with pytest.raises(InputError) as error:
        list(rebuild(listing, folder, debs))
    said = str(error.value)
    assert "\n" not in said
    return said


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_photographs_are_rebuilt_as_recorded_and_a_second_run_keeps_them(debs, tmp_path):
    out, listing = tmp_path / "out", listed(debs)
    assert [(rebuilt.photograph.name, rebuilt.new, rebuilt.exact) for rebuilt in rebuild(listing, out, debs)] == [
        ("reefs-reef.jpg", True, True),
        ("reefs-kite.jpg", True, True),
    ]
    first = contents(out)
    assert sorted(first) == [CREDITS, "reefs-kite.jpg", "reefs-reef.jpg"]
    with Image.open(out / "reefs-kite.jpg") as kite:
        assert (kite.format, kite.mode, kite.size) == ("JPEG", "RGB", (32, 21))
        assert {layer[1:3] for layer in kite.layer} == {(1, 1)}  # 4:4:4
    assert "| reefs-kite.jpg | usr/share/a/kite.png | Ada | CC-BY-4.0 |" in first[CREDITS].decode().splitlines()
    assert [rebuilt.new for rebuilt in rebuild(listing, out, debs)] == [False, False]
    assert contents(out) == first


def test_a_tampered_original_is_refused_and_not_written(debs, tmp_path):
    tampered = deb("reefs", "2:1.0-1", {**FILES, "usr/share/a/reef.jpg": original(3, "jpg")})
    next(debs.iterdir()).write_bytes(tampered)
    said = refused(listed(debs), tmp_path / "out", debs)
    assert said.startswith("usr/share/a/reef.jpg of reefs 2:1.0-1 has sha256 ")
    assert f"not {sha256(REEF)} as listed" in said
    assert not (tmp_path / "out" / "reefs-reef.jpg").exists()


def test_other_halved_pixels_than_recorded_are_refused(debs, tmp_path):
    said = refused(changed(listed(debs), pixels="0" * 64), tmp_path / "out", debs)
    assert said.startswith("reefs-reef.jpg: halved by Pillow ")
    said = refused(changed(listed(debs), width=33), tmp_path / "out", debs)
    assert said == "reefs-reef.jpg is 32x21, not 33x21 as listed"


def test_another_encoder_is_told_and_no_error(debs, tmp_path):
    rebuilt = list(rebuild(changed(listed(debs), jpeg="0" * 64), tmp_path / "out", debs))
    assert [(made.photograph.name, made.exact) for made in rebuilt] == [
        ("reefs-reef.jpg", False),
        ("reefs-kite.jpg", True),
    ]


def test_a_jpeg_far_from_its_pixels_is_refused(debs):
    noise = np.random.default_rng(0).integers(0, 256, (42, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise.repeat(2, 0).repeat(2, 1)).save(file, "PNG")
    # Noise is what JPEG keeps worst: no photograph is like it.
    with pytest.raises(InputError, match=r"reefs-kite\.jpg: the JPEG of Pillow .* levels off"):
        encode(listed(debs).packages[0].photographs[0], halve(file.getvalue()))


def test_another_version_is_refused_by_its_name(debs, tmp_path):
    listing = listed(debs)
    next(debs.iterdir()).write_bytes(deb("reefs", "2:1.0-2", FILES))
    said = refused(listing, tmp_path / "out", debs)
    assert "_all.deb is reefs 2:1.0-2, and the hashes are for reefs 2:1.0-1; get reefs 2:1.0-1 from" in said
    assert "snapshot archive" in said
    assert not (tmp_path / "out").exists()


def test_other_bytes_of_the_same_version_are_refused(debs, tmp_path):
    listing = listed(debs)
    longer = {**FILES, "usr/share/a/more.bin": os.urandom(999)}
    next(debs.iterdir()).write_bytes(deb("reefs", "2:1.0-1", longer))
    assert "calls itself reefs 2:1.0-1 but has sha256 " in refused(listing, tmp_path / "out", debs)


@pytest.mark.parametrize(
    ("length", "said"),
    [(-1, "truncated"), (250, "control.tar.gz ends after"), (80, "holds no control.tar"), (5, "does not begin as")],
)
def test_a_truncated_package_is_told(debs, tmp_path, length, said):
    listing, path = listed(debs), next(debs.iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    told = refused(listing, tmp_path / "out", debs)
    assert said in told
    assert f"{len(whole[:length]):,} of {len(whole):,} bytes" in told


def test_the_right_package_is_taken_from_beside_wrong_ones(debs, tmp_path):
    listing = listed(debs)
    (debs / "reefs_0.9_all.deb").write_bytes(deb("reefs", "0.9", FILES))
    (debs / "reefs_3.0_all.deb").write_bytes(b"")
    assert len(list(rebuild(listing, tmp_path / "out", debs))) == 2


def test_a_package_that_is_not_there_and_a_file_that_is_not_in_it_are_named(debs, tmp_path):
    said = refused(listed(debs, package="kites"), tmp_path / "out", debs)
    assert said.startswith(f"{debs} holds no kites_*.deb; get kites 2:1.0-1 from the Debian archive")
    # A link is not followed: it could name anything.
    said = refused(changed(listed(debs), path="usr/share/a/link.jpg"), tmp_path / "out", debs)
    assert "does not hold usr/share/a/link.jpg" in said


@pytest.mark.parametrize("name", ["reefs-kite.jpg", CREDITS])
def test_a_file_of_other_content_is_not_overwritten(debs, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    said = refused(listed(debs), tmp_path / "out", debs)
    assert said.startswith(f"{tmp_path / 'out' / name} is there with other content and is not overwritten")
    assert (tmp_path / "out" / name).read_bytes() == b"mine"


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_a_folder_apt_downloads_the_exact_version(debs, tmp_path, monkeypatch):
    deb_here = next(debs.iterdir())
    program(tmp_path / "bin", "apt-get", f'[ "$*" = "download reefs=2:1.0-1" ] && cp "{deb_here}" .')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert len(list(rebuild(listed(debs), tmp_path / "out"))) == 2


def test_a_version_that_apt_no_longer_has_is_told_with_the_one_it_has(debs, tmp_path, monkeypatch):
    program(tmp_path / "bin", "apt-get", "echo \"E: Version '2:1.0-1' for 'reefs' was not found\" >&2; exit 100")
    program(tmp_path / "bin", "apt-cache", "echo 'reefs:'; echo '  Candidate: 2:1.4-1'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    said = refused(listed(debs), tmp_path / "out", None)
    assert "cannot download reefs 2:1.0-1: it has version 2:1.4-1, and the hashes are for 2:1.0-1; get reefs" in said
    program(tmp_path / "bin", "apt-cache", "exit 0")
    assert "cannot download reefs 2:1.0-1: Version '2:1.0-1' for" in refused(listed(debs), tmp_path / "out", None)


def test_a_machine_without_apt_says_in_one_line_what_to_get(tmp_path):
    asked = [sys.executable, "-m", "jobs.photographs", str(tmp_path / "out")]
    done = subprocess.run(asked, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("photographs: there is no apt-get here to download krank 0.7+dfsg2-4; get krank")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_list_holds_79_photographs_of_the_five_packages_and_nothing_to_measure_on():
    packages = read_listing().packages
    assert {package.package: len(package.photographs) for package in packages} == {
        "krank": 32,
        "lomiri-wallpapers-16.04": 13,
        "lxqt-themes": 11,
        "mate-backgrounds": 12,
        "plasma-workspace-wallpapers": 11,
    }
    photographs = [(package, photograph) for package in packages for photograph in package.photographs]
    assert all(photograph.name.startswith(f"{package.package}-") for package, photograph in photographs)
    assert all(photograph.licence and photograph.author for _, photograph in photographs)
    for field in ("name", "path", "sha256", "pixels", "jpeg"):
        assert len({(package.package, getattr(photograph, field)) for package, photograph in photographs}) == 79
    words = " ".join(f"{photograph.name} {photograph.path}" for _, photograph in photographs).lower()
    assert not [name for name in ("enlightenment", "urban100", "kodak", "kodim", "kleiber") if name in words]


def test_no_sample_photograph_is_trained_on():
    samples = {sha256(path.read_bytes()) for path in (ROOT / "photos" / "samples").glob("*.jpg")}
    listed = {photograph.sha256 for package in read_listing().packages for photograph in package.photographs}
    assert samples
    assert not samples & listed
