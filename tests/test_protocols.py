"""A protocol says everything that changes numbers, and its digest changes when, and only when, one of those does."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from jobs.protocol_files import DEFAULT, PRESETS, ProtocolError, known_protocols, read_protocol
from ops.metrics.names import AnyMetric
from ops.metrics.protocol import Protocol

MINIMAL = """
name: mine
about: a test
metrics:
  - {name: psnr}
  - {name: ssim, colour: y}
"""

# Scores that were taken stand under these: a digest that changes makes them another protocol's.
GOLDEN: dict[str, str] = {
    "regrow": "0cf9f3d732da9e3d908f866ca8fc9b71f6833c0e12ecc85e571d9e47e0eace98",
    "faitheir": "93aa4930a47a038e025c106c2acb676081078edc1b98f1c40909786cea79ebb7",
    "tadm-iccv25": "ada6894cbbfbaddb6e2faaada893dcb519c41b411855298e79434d4bb27376a9",
}


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", known_protocols())
def test_the_digest_of_a_preset_stays_what_it_was(name):
    assert read_protocol(name).digest() == GOLDEN[name]


def test_the_default_is_the_first_preset():
    assert known_protocols() == ["regrow", "faitheir", "tadm-iccv25"]
    assert read_protocol() == read_protocol(DEFAULT) == read_protocol("regrow")


@pytest.mark.parametrize("name", known_protocols())
def test_a_preset_bears_its_name_and_says_what_it_reproduces(name):
    protocol = read_protocol(name)
    assert protocol.name == name
    assert len(protocol.about) > 60
    assert "\n" not in protocol.about + protocol.images
    assert bool(protocol.departures) == (name != DEFAULT)


def test_the_presets_take_these_columns():
    assert read_protocol("regrow").columns() == [
        "psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y", "ms_ssim_y", "lpips_alex", "lpips_vgg", "dists",
        "fd_vgg16", "kd_vgg16", "fid", "kid", "musiq", "clipiqa",
    ]  # fmt: skip
    assert read_protocol("tadm-iccv25").columns() == [
        "psnr_y_limited", "ssim_y_limited", "lpips_vgg", "dists", "musiq", "clipiqa", "fid_whole",
    ]  # fmt: skip
    assert read_protocol("faitheir").columns() == [
        "psnr_rgb", "ssim_rgb", "ssim_y", "lpips_vgg", "lpips_alex", "dists", "fid", "kid", "musiq",
    ]  # fmt: skip


def test_every_metric_that_there_is_can_stand_in_a_protocol():
    taken = {type(metric) for name in known_protocols() for metric in read_protocol(name).metrics}
    assert taken == set(get_args(AnyMetric))


def test_a_protocol_is_read_from_a_file(tmp_path):
    protocol = read_protocol(written(tmp_path, MINIMAL))
    assert protocol.columns() == ["psnr_rgb", "ssim_y"]
    assert (protocol.border, protocol.threads, protocol.identical_psnr) == (0, 1, 100.0)
    assert read_protocol(str(PRESETS / "regrow.yaml")) == read_protocol("regrow")


def test_a_protocol_survives_the_documents_that_hold_it():
    for name in known_protocols():
        protocol = read_protocol(name)
        again = msgspec.json.decode(msgspec.json.encode(protocol), type=Protocol)
        assert (again, again.digest()) == (protocol, protocol.digest())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("colour: y", "colour: rgb"),
        ("colour: y", "colour: y, range: limited"),
        ("colour: y", "colour: y, rounded: true"),
        ("  - {name: psnr}\n", ""),
        ("name: mine", "name: mine\nborder: 16"),
        ("name: mine", "name: mine\nthreads: 2"),
        ("name: mine", "name: mine\nidentical_psnr: 80"),
    ],
)
def test_what_changes_numbers_changes_the_digest(tmp_path, wrong, right):
    before = read_protocol(written(tmp_path, MINIMAL)).digest()
    assert read_protocol(written(tmp_path, MINIMAL.replace(wrong, right))).digest() != before


def test_words_and_order_do_not_change_the_digest(tmp_path):
    before = read_protocol(written(tmp_path, MINIMAL)).digest()
    other = "name: other\nabout: b\nimages: some\ndepartures: [none]\nmetrics: [{name: ssim, colour: y}, {name: psnr}]"
    assert read_protocol(written(tmp_path, other)).digest() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine", "field about is missing"),
        (
            MINIMAL + "bordr: 3",
            r"unknown field bordr \(did you mean border\?\): there are name, about, metrics, border",
        ),
        (MINIMAL + "border: many", 'field border is "many": write a whole number'),
        (MINIMAL + "border: -1", "field border is -1: write a whole number of pixels from 0"),
        (MINIMAL + "threads: 0", "field threads is 0: write a whole number from 1"),
        (MINIMAL + "identical_psnr: .inf", "field identical_psnr is inf: write a number of dB"),
        (MINIMAL + "averaging: median", 'field averaging is "median": write mean of images'),
        (MINIMAL + "about: twice", "'about' stands twice"),
        (MINIMAL.replace("mine", "a/b"), "field name is 'a/b': write letters, digits, dots and dashes"),
        (MINIMAL.replace("psnr", "pnsr"), r'field metrics\[0\]\.name is "pnsr": write .*psnr'),
        (MINIMAL.replace("colour", "color"), r"unknown field metrics\[1\]\.color \(did you mean colour\?\)"),
        (MINIMAL.replace("colour: y", "colour: yuv"), r'field metrics\[1\]\.colour is "yuv": write rgb or y'),
        (MINIMAL.replace("ssim, colour: y", "psnr"), "field metrics names psnr_rgb 2 times: keep one"),
        (MINIMAL.replace("{name: psnr}", "psnr"), r'field metrics\[0\] is "psnr": write a mapping with name: psnr'),
        ("name: mine\nabout: a\nmetrics: []", "field metrics is empty: name at least one"),
        (MINIMAL.replace("psnr}", "psnr, range: limited}"), r"field metrics\[0\]: range 'limited' is one of Y"),
        ("- a", "it is no mapping of fields"),
        ("a: [", "not YAML in line 1"),
        ("", "it is no mapping of fields"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_what_is_allowed(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ProtocolError, match=message) as error:
        read_protocol(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_an_unknown_preset_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(ProtocolError, match=r"no protocol 'tadm' .*there are regrow, faitheir, tadm-iccv25, or name a"):
        read_protocol("tadm")
    with pytest.raises(ProtocolError, match=r"no protocol 'faithier' \(did you mean faitheir\?\)"):
        read_protocol("faithier")
    with pytest.raises(FileNotFoundError):
        read_protocol("nowhere/mine.yaml")


def test_reading_a_protocol_needs_neither_torch_nor_ray():
    script = (
        "import sys; from jobs.protocol_files import read_protocol; import jobs.papers, jobs.datasets\n"
        "read_protocol('regrow').digest(); jobs.papers.published('div2k', 16)\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
