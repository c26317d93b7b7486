"""Training: a run that was interrupted is as if it never was, what goes wrong is told, and what comes out runs."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from jobs import cli
from jobs.training import known_jobs, read_training
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.rescalers.levels import from_levels, quantised, to_levels
from ops.thumbnails import decode_thumbnail
from ops.training import checkpoints
from ops.training.complete import complete
from ops.training.curves import read_points
from ops.training.errors import TrainingError
from ops.training.loop import train
from ops.training.photographs import TrainingDataError
from ops.training.run import Place, Stopped
from ops.training.settings import CropSettings, Photographs, Rate, Rhythm, Stage, TrainingSettings
from ops.training.start import first_system, prepared
from ops.training.validation import correlation, ranks
from ops.weights import codec_files
from pipelines.train import TrainRequest
from pipelines.train import train as train_together
from tests.makers import encode, noise, photo

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
SMALL = {"name": "tadm", "scale": 16, "size": "small"}
CROP = CropSettings(side=64, scales=(0.5, 1.0), turns=True)


class Pulled(BaseException):
    """The plug was."""


def stage(objective, steps=3, **losses):
    return Stage(objective=objective, steps=steps, batch=4, accumulate=2, crop=CROP, losses=losses, rate=Rate(warmup=2))


AUTOENCODER = stage("autoencoder", 4, l1=1.0, kl=1e-4)
JOINT = stage("joint", l1=1.0, guidance_l1=1.0, latent_l1=0.1, timestep=0.1)


@pytest.fixture
def photographs(tmp_path):
    """Four photographs of different sizes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for at in range(4):
        (folder / f"{at}.png").write_bytes(encode(photo(100 + 20 * at, 150 - 10 * at, seed=at)))
    return folder


@pytest.fixture
def settings(photographs):
    return TrainingSettings(
        codec=SMALL,
        photographs=Photographs(sources=(str(photographs),)),
        stages=(AUTOENCODER, JOINT),
        rhythm=Rhythm(curve=1, validate=100, checkpoint=2),
    )


def trained(folder, settings, **hooks):
    run = prepared(folder, settings, Place(), **hooks)
    train(run)
    return run.system.state_dict()


def curves(folder):
    return [{**point, "seconds": None} for point in read_points(folder / "curves.jsonl")]


def pulled_at(stage, step):
    def told(progress):
        if (progress.stage, progress.step) == (stage, step):
            raise Pulled

    return told


def test_a_run_that_was_interrupted_equals_one_that_was_not(tmp_path, settings):
    whole = trained(tmp_path / "whole", settings)
    folder = tmp_path / "torn"
    for place in (
        (0, 3),
        (1, 1),
        (1, 3),
    ):  # within a stage, behind its end, and again, each past a checkpoint or at one
        with pytest.raises(Pulled):
            trained(folder, settings, told=pulled_at(*place))
    resumed = trained(folder, settings)
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert curves(folder) == curves(tmp_path / "whole")
    assert len(curves(folder)) == AUTOENCODER.steps + JOINT.steps
    untrained = first_system(settings, "cpu").state_dict()
    parts = {name.split(".")[0] for name in whole if not torch.equal(whole[name], untrained[name])}
    assert parts == {"vae", "rescaling", "unet", "timestep", "scheduler"}


def test_time_is_counted_over_all_parts_of_a_run(tmp_path, settings):
    for done in (1, 2):
        with pytest.raises(Stopped, match=rf"{done} of 4 steps of stage 0 \(autoencoder\) are done"):
            trained(tmp_path, settings, stopping=lambda: True)
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert (found.stage, found.step) == (0, 2)
    before = found.facts["seconds_0"]
    trained(tmp_path, settings)
    facts = checkpoints.newest(tmp_path / "checkpoints").facts
    assert facts["seconds_0"] > before > 0
    assert facts["seconds_1"] > 0


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_good_checkpoint(tmp_path, settings):
    absurd = replace(JOINT, rate=Rate(start=1e30), optimiser=replace(JOINT.optimiser, clip=None))
    with pytest.raises(TrainingError, match=r"stage 1 \(joint\) came to no number at step \d.*as they were; go on"):
        trained(tmp_path, replace(settings, stages=(AUTOENCODER, absurd)))
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert (found.stage, found.step) == (1, 0)
    assert all(bool(tensor.isfinite().all()) for tensor in found.model.values())


def test_a_checkpoint_of_another_configuration_is_refused_and_nothing_of_it_changes(tmp_path, settings):
    short = replace(settings, stages=(replace(AUTOENCODER, steps=1),))
    trained(tmp_path, short)
    job = (tmp_path / "job.json").read_bytes()
    for other in (replace(short, seed=1), replace(short, stages=(stage("autoencoder", 1, l1=2.0),))):
        with pytest.raises(TrainingError, match="another folder, or give the job file as it was"):
            trained(tmp_path, other)
    for changed, said in (
        ({"held_out": ("1.png",)}, "held_out is 1.png, and was none: .*photographs.json was frozen before: start in a"),
        ({"group": r"(\d)"}, "group puts 0.png into '0', and did into ''"),
    ):
        with pytest.raises(TrainingError, match=said):
            trained(tmp_path, replace(short, photographs=replace(short.photographs, **changed)))
    assert (tmp_path / "job.json").read_bytes() == job
    trained(tmp_path, replace(short, rhythm=Rhythm()))  # how often something is written decides no bit


def test_a_finished_run_goes_on_when_its_job_is_given_another_stage(tmp_path, settings):
    short, long = replace(settings, stages=(AUTOENCODER,)), replace(settings, stages=(AUTOENCODER, JOINT))
    whole = complete(tmp_path / "whole", long, Place())
    first = complete(tmp_path / "grown", short, Place())
    assert first.weights.digest != whole.weights.digest
    grown = complete(tmp_path / "grown", long, Place())
    assert grown.weights.digest == whole.weights.digest
    aside = tmp_path / "grown" / f"weights-{first.weights.digest[:8]}.safetensors"
    assert codec_files.read_header(str(aside)).digest == first.weights.digest
    with pytest.raises(TrainingError, match="of a run with 2 stages begun, but the job has 1"):
        complete(tmp_path / "grown", short, Place())


def test_a_corrupt_photograph_in_the_stream_is_told_and_passed_over(tmp_path, settings, photographs, caplog):
    whole = encode(noise(200, 200))
    (photographs / "torn.png").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        trained(tmp_path / "run", replace(settings, stages=(replace(AUTOENCODER, batch=8),)))
    assert [line for line in caplog.messages if line.startswith("photograph torn.png is passed over: ")]


def test_too_little_to_train_on_is_refused(tmp_path, settings, photographs):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.png").write_bytes(encode(photo(60, 200)))
    for folder, said in (
        (empty, "is empty or does not exist"),
        (tmp_path / "tiny", "60x200 pixels do not hold a crop of 64"),
    ):
        with pytest.raises(TrainingDataError, match=f"nothing to train on.*{said}"):
            trained(tmp_path / "run", replace(settings, photographs=Photographs(sources=(str(folder),))))


def test_what_cannot_be_trained_is_refused_by_name(tmp_path, settings):
    with pytest.raises(TrainingError, match="codec bicubic-x16 has nothing to train: use nano, tadm"):
        trained(tmp_path / "a", replace(settings, codec={"name": "bicubic", "scale": 16}))
    with pytest.raises(TrainingError, match="stage rescaling has no loss 'l1': it has"):
        trained(tmp_path / "b", replace(settings, stages=(stage("rescaling", l1=1.0, latent_l1=1.0),)))
    with pytest.raises(msgspec.ValidationError, match="there is no loss 'l3'"):
        msgspec.convert({**msgspec.to_builtins(AUTOENCODER), "losses": {"l3": 1.0}}, Stage)
    without = {**SMALL, "diffusion": False}
    with pytest.raises(TrainingError, match=r"Tadm has no unet\. to train"):
        trained(tmp_path / "c", replace(settings, codec=without, stages=(stage("denoiser", noise_mse=1.0),)))


def test_the_exported_weights_run_as_a_codec_and_give_what_the_trained_networks_give(tmp_path, settings):
    result = complete(tmp_path, settings, Place())
    config = codec_from(SMALL).bound(result.weights.digest, result.weights.settings)
    config = replace(config, precision="float32")
    pixels = photo(200, 136, seed=9)
    codec = config.load(Runtime(weights=(result.weights.url,)))
    payload = codec.encode([pixels])[0]
    grown = codec.decode([payload])[0]

    system = prepared(tmp_path, settings, Place()).system.eval()  # as it begins: the averages are in the checkpoint
    state = checkpoints.newest(tmp_path / "checkpoints").model
    system.load_state_dict({name: tensor.half() for name, tensor in state.items()})
    small = to_levels(quantised(system.shrunk(from_levels(pixels))[0], "round")[:, :, : -(-pixels.shape[0] // 16)])
    small = np.ascontiguousarray(small[:, : -(-pixels.shape[1] // 16)])
    assert np.array_equal(decode_thumbnail(payload.thumbnail), small)
    assert np.array_equal(grown, to_levels(system.up(from_levels(small), *pixels.shape[:2])))
    assert grown.std() > 0
    assert codec_files.read_header(result.weights.url).trained


def test_photographs_that_are_held_out_are_judged_and_drawn(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path / "none"))
    held = replace(
        settings,
        licences={"": "CC0, A. N. Other"},
        photographs=replace(settings.photographs, held_out=("1.png", "3.png")),
    )
    settled = replace(held, stages=(replace(AUTOENCODER, steps=1), stage("denoiser", 1, noise_mse=1.0), JOINT))
    complete(tmp_path / "run", settled, Place(), validated=_validation(tmp_path / "run", settled))
    judged = {point["stage"]: point for point in curves(tmp_path / "run") if "psnr" in point}
    assert sorted(judged) == [0, 2]
    assert judged[2].keys() >= {"psnr", "thumbnail_psnr", "thumbnail_bytes", "grid_2", "grid_16", "timestep_spearman"}
    assert 5 < judged[2]["psnr"] < 40
    assert judged[2]["thumbnail_bytes"] > 0
    assert sorted(path.name for path in (tmp_path / "run" / "grids").iterdir()) == ["00-0000001.png", "02-0000003.png"]
    with Image.open(tmp_path / "run" / "grids" / "02-0000003.png") as drawn:
        # Original, thumbnail, bicubic and regrown, with gaps between and two lines of words above.
        assert drawn.size == (4 * 160 + 3 * 4, 140 + 120 + 2 * 2 * 20)
        with Image.open(Path(settings.photographs.sources[0]) / "1.png") as original:
            assert drawn.crop((0, 40, 120, 180)).tobytes() == original.convert("RGB").tobytes()
    card = (tmp_path / "run" / "CARD.md").read_text()
    assert "## Every photograph" in card
    assert card.count(".png | - |") == 2
    assert "| - | 2 | CC0, A. N. Other |" in card
    assert f"| psnr | {judged[2]['psnr']:.4g} |" in card
    assert "| 1 denoiser | unet | 1 | 4 of 64 pixels | 1 noise_mse | 0.0002 | float32 | 0.00 |" in card


def _validation(folder, settings):
    from ops.training.validation import validation  # noqa: PLC0415  it loads the metrics' networks

    return validation(folder, settings)


def test_ranks_and_correlations_are_those_of_the_textbook():
    a, b = np.array([1.0, 2.0, 2.0, 5.0]), np.array([1.0, 8.0, 8.0, 30.0])
    assert ranks(a).tolist() == [1, 2.5, 2.5, 4]
    assert correlation(ranks(a), ranks(b)) == pytest.approx(1)
    assert correlation(a, np.array([2.0, 1.0, 3.0, 4.0])) == pytest.approx(5 / 45**0.5)
    assert np.isnan(correlation(a[:2], b[:2]))
    assert np.isnan(correlation(np.ones(4), b))


JOB = """
codec: {name: tadm, scale: 16, size: small}
photographs: {sources: [photographs]}
stages:
  - {objective: autoencoder, steps: 2, batch: 2, crop: {side: 64}, losses: {l1: 1.0}}
  - {objective: rescaling, steps: 400, batch: 2, crop: {side: 64}, losses: {latent_l1: 1.0}}
rhythm: {curve: 1, checkpoint: 1000}
"""


def test_the_command_trains_and_says_when_nothing_is_left(tmp_path, photographs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB.replace("400", "2"))
    assert cli.run(["train", "job.yaml", "--only-check"]) == 0
    out, _ = capsys.readouterr()
    assert "4 photographs" in out
    assert "stage 1      rescaling: 2 steps of 2 crops of 64" in out
    assert not Path("runs").exists()
    assert cli.run(["train", "job.yaml", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert "Stage 1 (rescaling): 2 of 2 steps  loss " in err
    assert out.startswith("run is finished\n")
    assert "--weights run/weights.safetensors" in out
    assert cli.run(["train", "job.yaml", "--out", "run"]) == 0
    assert capsys.readouterr().out.startswith("run was finished before: nothing was left to train\n")
    Path("job.yaml").write_text(JOB)
    assert cli.run(["train", "job.yaml", "--out", "run"]) == 1
    assert "regrow: checkpoint 02-0000000.pt is of configuration " in capsys.readouterr().err


def test_a_job_file_that_is_wrong_is_told_with_its_field(tmp_path, capsys):
    assert "nano-x16" in known_jobs()
    for name in known_jobs():
        assert read_training(name).stages
    job = tmp_path / "job.yaml"
    for wrong, said in (
        (JOB.replace("l1: 1.0", "l3: 1.0", 1), "there is no loss 'l3'"),
        (JOB.replace("steps: 2", "steps: no"), "field stages[0].steps is false: write a whole number"),
        (
            JOB.replace("side: 64", "side: 65", 1),
            "field stages[0].crop.side is 65: write a whole number from 64 to 2048, a multiple of 64",
        ),
        (JOB.replace("rhythm", "rythm"), "unknown field rythm (did you mean rhythm?)"),
        (JOB.replace("size: small", "size: tiny"), "codec tadm: "),
        (JOB[: JOB.index("stages")] + "stages: []\n", "field stages is empty"),
    ):
        job.write_text(wrong)
        assert cli.run(["train", str(job)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert cli.run(["train", "nano-x61"]) == 2
    assert "no job 'nano-x61' (did you mean nano-x16?)" in capsys.readouterr().err


def test_a_signal_stops_behind_a_step_with_a_checkpoint_and_says_how_to_go_on(tmp_path, photographs):
    (tmp_path / "job.yaml").write_text(JOB)
    run = subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", "train", "job.yaml", "--out", "a run"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _wait_for(tmp_path / "a run" / "checkpoints" / "01-0000000.pt")
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (143, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "  regrow train job.yaml --out 'a run'"
    assert " of 400 steps of stage 1 (rescaling) are done, and kept. To go on:" in err.splitlines()[-2]
    found = checkpoints.newest(tmp_path / "a run" / "checkpoints")
    assert found.stage == 1
    assert 0 < found.step < 400


@pytest.mark.ray
def test_two_workers_train_as_one_does_and_go_on_where_they_stopped(ray_here, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    joint = replace(JOINT, losses={"l1": 1.0, "guidance_l1": 1.0, "latent_l1": 0.1}, average=0.5)
    stages = (replace(AUTOENCODER, steps=2), replace(joint, steps=2))
    settings = replace(settings, stages=tuple(replace(one, rate=Rate(start=2e-5)) for one in stages))
    untrained = first_system(settings, "cpu").state_dict()
    alone = trained(tmp_path / "alone", settings)
    request = TrainRequest(settings=settings, folder=str(tmp_path / "together"), workers=2)
    with pytest.raises(Stopped, match=r"1 of 2 steps of stage 0 \(autoencoder\) are done"):
        train_together(request, asked=lambda: True)
    result = train_together(request)
    together = checkpoints.newest(tmp_path / "together" / "checkpoints").model
    apart, moved = (distance(together, alone), distance(untrained, alone))
    assert apart[1] < 1e-4
    assert apart[0] < 0.02 * moved[0]
    said, once = curves(tmp_path / "together"), curves(tmp_path / "alone")
    assert [point["loss"] for point in said] == pytest.approx([point["loss"] for point in once], rel=1e-4)
    assert [point["gradient"] for point in said] == pytest.approx([point["gradient"] for point in once], rel=1e-3)
    assert Path(result.weights.url).exists()
    assert not {"stop", "progress.json", "ray"} & {path.name for path in (tmp_path / "together").iterdir()}


def distance(one, other):
    """Return the length of the difference of two systems, and its largest number."""
    apart = torch.cat([(one[name] - other[name]).flatten() for name in other])
    return float(apart.norm()), float(apart.abs().max())


def test_what_is_no_number_on_another_worker_ends_this_one_too(tmp_path, settings):
    place = Place(averaged=lambda numbers: [numbers[0], *[float("nan")] * (len(numbers) - 1)])
    with pytest.raises(TrainingError, match=r"came to no number at step 0 \(kl nan, l1 nan\)"):
        train(prepared(tmp_path, settings, place))
    with pytest.raises(TrainingError, match="a batch of 4 in 2 portions does not part among 3 workers"):
        train(prepared(tmp_path, settings, Place(workers=3)))
    stages = (replace(settings.stages[0], vgg_images=1),)
    with pytest.raises(TrainingError, match=r"vgg_images 1 in 2 portions do not part among 2 workers.*a multiple of 4"):
        train(prepared(tmp_path / "vgg", replace(settings, stages=stages), Place(workers=2)))


def _wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(path)
