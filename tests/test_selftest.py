"""The selftest of archives: equal, within a level, further apart, damaged."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import cli
from ops.archive.escrow import LAST_OF_ESCROW, write_escrow
from ops.archive.layout import ArchiveError, Location, create, locate
from ops.archive.selftest import distance, selftest
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from tests.archives import document_for
from tests.learned import small_weights


def archive_of(folder: Path, codec: str) -> Location:
    location = locate(str(folder))
    document = create(location, document_for(codec))
    write_escrow(location, document, codec_from(codec).load(Runtime()))
    return location


@pytest.mark.parametrize("codec", ["bicubic-x8", "jpeg-q40-x2"])
def test_the_machine_that_made_an_archive_regrows_it_bit_for_bit(tmp_path, codec, capsys):
    location = archive_of(tmp_path / "a", codec)
    assert cli.run(["selftest", location.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["found"], found["codec"]) == ("bit-equal", codec)
    assert found["device_then"] == found["device_now"]


@pytest.mark.parametrize(("levels", "status", "said"), [(1, 0, "within one level"), (3, 1, "other")])
def test_how_far_it_is_from_what_was_recorded_is_said(tmp_path, capsys, levels, status, said):
    location = archive_of(tmp_path / "a", "bicubic-x8")
    path = tmp_path / "a" / "codec" / LAST_OF_ESCROW
    recorded = np.asarray(Image.open(path)).copy()
    recorded[:64, :64] ^= levels
    Image.fromarray(recorded).save(path)
    config = tmp_path / "a" / "codec" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "device": "cuda NVIDIA H200"}))
    assert cli.run(["selftest", location.url]) == status
    out = capsys.readouterr().out
    assert f"{location.url}: {said}" in out
    assert "6.25 % of the pixels differ" in out
    assert "device then     cuda NVIDIA H200" in out
    assert "thumbnail       equal, bit for bit" in out


def test_what_is_kept_beside_a_thumbnail_is_tested_too(tmp_path):
    config, url = small_weights("vae-x8")  # it regrows from its extras alone
    location = locate(str(tmp_path / "a"))
    document = document_for("bicubic-x8")
    document = create(
        location,
        type(document)(
            codec=config.settings(), codec_name=config.spelling(), codec_digest=config.digest(), generative=False,
            reading=document.reading, made_by="tests", notes="",
        ),
    )  # fmt: skip
    write_escrow(location, document, config.load(Runtime(weights=(url,))))
    assert selftest(location, [url]).found == "bit-equal"
    extras = tmp_path / "a" / "codec" / "golden" / "0.extras.json"
    kept = json.loads(extras.read_text())
    extras.write_text(json.dumps({name: b64encode(bytes(len(b64decode(one)))).decode() for name, one in kept.items()}))
    assert selftest(location, [url]).found == "other"


def test_an_archive_without_a_golden_tile_or_with_a_damaged_one_says_so(tmp_path):
    location = archive_of(tmp_path / "a", "bicubic-x8")
    (tmp_path / "a" / "codec" / "golden" / "0.source.png").write_bytes(b"no picture")
    with pytest.raises(ArchiveError, match=r"codec is damaged .*restore it from a copy"):
        selftest(location)
    (tmp_path / "a" / "codec" / LAST_OF_ESCROW).unlink()
    with pytest.raises(ArchiveError, match=r"has no golden tile in codec/: run its `regrow archive` command again"):
        selftest(location)
    with pytest.raises(ArchiveError, match="is no archive"):
        selftest(locate(str(tmp_path / "nowhere")))


def test_distances_are_in_levels_and_of_pictures_of_one_size():
    black, grey = np.zeros((2, 5, 3), np.uint8), np.zeros((2, 5, 3), np.uint8)
    grey[0, 0] = (0, 30, 0)
    found = distance(black, grey)
    assert (found.largest, found.mean, found.share) == (30, 1.0, 0.1)
    with pytest.raises(ArchiveError, match=r"\(2, 5, 3\) recorded and \(1, 5, 3\) here"):
        distance(black, grey[:1])
