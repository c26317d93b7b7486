"""The papers' ablations as job files: each leaves one thing out and is else like the rest; their table."""

import json

import pytest
from msgspec.structs import replace

from jobs.ablations.__main__ import PRIOR, described, main, names
from jobs.ablations.table import table
from jobs.training import read_training
from ops.codecs.names import codec_from

ABLATIONS = [name for name in names() if name != PRIOR]


def job(name: str):
    return read_training(f"jobs/ablations/{name}.yaml")


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_from_the_whole_in_its_codec_and_in_losses_of_what_it_lacks(name):
    whole, own = job("faitheir" if name.startswith("faitheir") else "tadm"), job(name)
    assert replace(own, codec=whole.codec, stages=whole.stages) == whole
    changed = {field for field in own.codec if own.codec[field] != whole.codec.get(field)}
    assert len(changed) == (0 if name in ("tadm", "faitheir") else 1)
    for stage, usual in zip(own.stages, whole.stages, strict=True):
        assert replace(stage, losses=usual.losses) == usual
        assert stage.losses == {term: usual.losses[term] for term in stage.losses}
        assert usual.losses.keys() - stage.losses.keys() <= {"timestep"}


def test_what_they_begin_with_has_the_networks_that_they_take_from_it():
    prior = codec_from(job(PRIOR).codec).network().state_dict()
    for name in ABLATIONS:
        own = codec_from(job(name).codec).network().state_dict()
        for part in ("vae.", "unet."):
            theirs = {key: tensor.shape for key, tensor in own.items() if key.startswith(part)}
            assert theirs.items() <= {key: tensor.shape for key, tensor in prior.items()}.items()
    assert names()[0] == PRIOR


def test_each_says_what_it_is_and_which_paper_has_it():
    for name in ABLATIONS:
        assert described(name).startswith(("TADM", "OSIRDiff", "FaithEIR"))


def test_the_table_has_finished_runs_and_names_the_others(tmp_path, monkeypatch, capsys):
    points = [
        {"stage": 0, "step": 0, "latent_l1": 9.0, "psnr": 1.0},
        {"stage": 0, "step": 1, "latent_l1": 0.5},
        {"stage": 1, "step": 0, "latent_l1": 7.0, "psnr": 25.123, "lpips_alex": 0.25, "thumbnail_psnr": 41.04},
    ]
    run = tmp_path / "runs" / "ablations" / "tadm"
    run.mkdir(parents=True)
    (run / "curves.jsonl").write_text("\n".join(map(json.dumps, points)))
    assert table(run.parent, {"tadm": "whole"})[2:] == ["Not trained yet: tadm."]
    (run / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["--only-table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("| `")] == [
        f"| `tadm` | {described('tadm')} | 25.12 | 0.250 |  |  | 41.0 |  | 4.750 |  |"
    ]
    assert lines[-1] == f"Not trained yet: {', '.join(name for name in ABLATIONS if name != 'tadm')}."
