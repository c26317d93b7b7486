"""The frame of the repository: set-up, pins, and the contracts between folders."""

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = ("jobs", "pipelines", "clusters", "ops")
PYTHONS = ("3.11", "3.12", "3.13")


def run(*command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def committed_files():
    """What git would commit: also the new files of a change under way."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT)
    if listed.returncode != 0:  # an unpacked source archive has no git
        skipped = {".venv", ".git", "demo"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture
def fresh(tmp_path):
    """A checkout in which nothing was installed yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def fake_python(folder, version, *, has_venv):
    """A program that answers the Makefile's two questions as a Python would."""
    python = folder / f"python-{version}"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit {int(not has_venv)} ;; esac\necho {version}\n')
    python.chmod(0o755)
    return python


def test_help_lists_every_target(fresh):
    told = run("make", "help", folder=fresh).stdout
    listed = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert {"help", "demo", "test", "check", "bench", "clean"} <= set(listed[1].split())
    for target in listed[1].split():
        assert re.search(rf"^make {target} +\w", told, re.MULTILINE), target
    assert run("make", folder=fresh).stdout == told


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench"])
@pytest.mark.parametrize("version", ["3.9", "3.10", "3.14", "2.7"])
def test_another_python_is_refused_in_one_line(fresh, target, version):
    python = fake_python(fresh, version, has_venv=True)
    refused = run("make", target, f"PYTHON={python}", folder=fresh)
    said = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert refused.returncode != 0
    assert said == [
        f"regrow needs Python 3.11, 3.12 or 3.13; found: {python} is {version}; "
        "name one with: make PYTHON=/path/to/python3.12"
    ]
    assert not (fresh / ".venv").exists()


def test_a_python_without_the_venv_module_is_refused_in_one_line(fresh):
    python = fake_python(fresh, "3.12", has_venv=False)
    refused = run("make", "test", f"PYTHON={python}", folder=fresh)
    said = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert f"{python} lacks the venv module (Debian, Ubuntu: apt install python3.12-venv)" in said[0]


def test_a_python_that_does_not_run_is_refused_in_one_line(fresh):
    refused = run("make", "demo", "PYTHON=/nowhere/python3.12", folder=fresh)
    said = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert "none that runs of /nowhere/python3.12" in said[0]


def test_pins_are_exact_and_single():
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins())
    for python in PYTHONS:
        for platform in ("linux", "darwin"):
            here = {"python_version": python, "sys_platform": platform}
            names = [canonicalize_name(pin.name) for pin in pins() if not pin.marker or pin.marker.evaluate(here)]
            assert len(names) == len(set(names))


def test_pins_leave_cuda_out_and_torch_without_a_hash():
    text = (ROOT / "constraints.txt").read_text()
    assert not [pin.name for pin in pins() if re.match(r"nvidia|triton|cuda|cu\d", pin.name)]
    assert "torch==2.13.0" in text.splitlines()
    assert "--hash" not in text


def test_every_dependency_of_the_project_is_pinned_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins()}
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} refuses its pin {version}"


def test_the_tree_names_no_registry_and_no_path_of_one_machine():
    # written so that the pattern does not match itself
    registries = "|".join((r"pypi\.org", r"pythonhosted\.org", r"download\.pytorch\.org", r"\bindex-url\b"))
    forbidden = re.compile(rf"(?:{registries}|(?<![\w.])/(?:work|farm)/|(?<!\w)/opt/(?:wheels|pypi))".encode())
    found = [(path, hit) for path in committed_files() if (hit := forbidden.search(path.read_bytes()))]
    assert [f"{path.relative_to(ROOT)}: {hit[0].decode()}" for path, hit in found] == []


@pytest.fixture
def contracts(tmp_path):
    """A copy of the four folders with the contracts, and a way to ask whether they are kept."""
    shutil.copy(ROOT / ".importlinter", tmp_path)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / folder / "__init__.py").touch()
    for package in ("codecs", "readers"):
        (tmp_path / "ops" / package / "__init__.py").touch()
    tool = Path(sys.executable).parent / "lint-imports"
    return tmp_path, lambda: run(tool, "--no-cache", folder=tmp_path)


def test_the_tree_keeps_its_contracts(contracts):
    _, ask = contracts
    kept = ask()
    assert kept.returncode == 0, kept.stdout
    assert "3 kept, 0 broken" in kept.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("ops/planted.py", "import ray", "Only pipelines and clusters import Ray"),
        ("ops/codecs/planted.py", "from ray import data", "Only pipelines and clusters import Ray"),
        ("jobs/planted.py", "def f():\n    import ray", "Only pipelines and clusters import Ray"),
        ("jobs/planted.py", "import torch", "Jobs and pipelines leave torch to ops"),
        ("pipelines/planted.py", "from torch import nn", "Jobs and pipelines leave torch to ops"),
        ("ops/planted.py", "import clusters", "Imports point down"),
        ("clusters/planted.py", "import ops.images", "Imports point down"),
        ("pipelines/planted.py", "import jobs.page", "Imports point down"),
        ("ops/readers/planted.py", "import pipelines", "Imports point down"),
    ],
)
def test_a_planted_import_is_caught(contracts, file, line, contract):
    folder, ask = contracts
    (folder / file).write_text(f"{line}\n")
    broken = ask()
    assert broken.returncode != 0
    assert re.search(rf"^{contract}.* BROKEN$", broken.stdout, re.MULTILINE), broken.stdout
    assert file.removesuffix(".py").replace("/", ".") in broken.stdout


@pytest.mark.parametrize(
    ("file", "line"), [("pipelines/planted.py", "import ray"), ("clusters/planted.py", "import ray")]
)
def test_ray_is_free_to_pipelines_and_clusters(contracts, file, line):
    folder, ask = contracts
    (folder / file).write_text(f"{line}\n")
    assert ask().returncode == 0
