"""Decoding in a process of its own: the same answer, and a caller that survives."""

import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ops import careful
from ops.archive.layout import ArchiveError
from ops.careful import decode_apart
from ops.decoding import Limits, decode
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, noise, photo

PLENTY = {"seconds": 60.0, "memory_bytes": 1 << 30}


def failure_of(encoded: bytes, **options) -> tuple[FailureCode, str]:
    with pytest.raises(ImageError) as caught:
        decode_apart(encoded, **{**PLENTY, **options})
    return caught.value.failure.code, caught.value.failure.message


@pytest.mark.parametrize("channels", [3, 4])
def test_the_answer_is_that_of_decode(channels, monkeypatch, tmp_path):
    (tmp_path / "ops.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    encoded = encode(noise(channels=channels), exif=makers.exif(6, gps=True), icc_profile=makers.ADOBE_RGB)
    here = decode(encoded, Limits(), "#112233", "no-location")
    apart = decode_apart(encoded, Limits(), "#112233", "no-location", **PLENTY)
    for name in msgspec.structs.asdict(here):
        assert np.array_equal(getattr(apart, name), getattr(here, name)), name


def test_a_failure_is_that_of_decode():
    encoded = encode(photo(), "JPEG")[:-100]
    with pytest.raises(ImageError) as caught:
        decode(encoded)
    assert failure_of(encoded) == (caught.value.failure.code, caught.value.failure.message)


def test_a_decode_that_takes_too_long_is_ended_and_nothing_is_left_over(monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(careful.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1])
    code, message = failure_of(encode(photo()), seconds=0.01)
    assert code == FailureCode.TIMED_OUT
    assert "0.01 s" in message
    assert started[0].poll() is not None


def test_a_decode_that_takes_too_much_memory_is_refused_it():
    code, message = failure_of(encode(np.zeros((6000, 6000, 1), np.uint8)), memory_bytes=50_000_000)
    assert code == FailureCode.OUT_OF_MEMORY
    assert "memory" in message


def in_place_of_python(monkeypatch, tmp_path: Path, script: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(careful.sys, "executable", str(program))


@pytest.mark.parametrize("signal", ["SEGV", "ABRT", "KILL"])
def test_a_process_that_dies_is_named_by_its_signal(monkeypatch, tmp_path, signal):
    in_place_of_python(monkeypatch, tmp_path, f"kill -{signal} $$")
    code, message = failure_of(encode(photo()))
    assert code == FailureCode.KILLED_WORKER
    assert f"SIG{signal}" in message


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo Traceback >&2; echo 'OSError: No space left on device' >&2; exit 1",
            r"exit status 1 \(OSError: No space",
        ),
        ("exit 127", r"exit status 127 \(it said nothing\)"),
        ("kill -TERM $$", "signal SIGTERM"),
    ],
)
def test_no_image_is_to_blame_where_the_process_could_not_work(monkeypatch, tmp_path, script, said):
    in_place_of_python(monkeypatch, tmp_path, script)
    with pytest.raises(ArchiveError, match=said) as caught:
        decode_apart(encode(photo()), **PLENTY)
    assert "\n" not in str(caught.value)
    assert "has space" in str(caught.value)
