"""Learned codecs around their networks: weights named, found, refused, kept in escrow, tried before a large run."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

import regrow as rg
from jobs import cli
from jobs.alone import regrow_alone
from jobs.report.measured import measure
from jobs.report.verdict import verdicts
from jobs.spec import parse_job
from ops.archive.escrow import write_escrow
from ops.archive.escrowed_weights import escrow_kind, places_of
from ops.archive.layout import ArchiveError, create, locate, read_document
from ops.archive.reading import Archive
from ops.archive.rows import ImageRow
from ops.archive.selftest import selftest
from ops.codecs.base import Payload, Runtime
from ops.codecs.binding import bind, bind_all, reach, weights_of
from ops.codecs.learned import LearnedConfig, MisfitWeights
from ops.codecs.names import CodecError, codec_from
from ops.images import Failure, FailureCode
from ops.metrics.base import Unavailable
from ops.preflight import compare
from ops.regrowing import PictureStyle, Regrower
from ops.stores import join, open_store
from ops.stores.uploading import put_file
from ops.weights import codec_files
from ops.weights.files import WeightsError
from pipelines.archive import archive
from pipelines.deadline import codec_seconds, likely_seconds
from pipelines.documents import settled
from pipelines.evaluate import evaluate
from pipelines.events import Preflighting
from pipelines.judgings import proposed
from pipelines.requests import ArchiveRequest, EvaluateRequest
from tests import makers
from tests.archives import document_for
from tests.findings import NANO, duel
from tests.learned import small_weights
from tests.runs import photographs, put_files, request
from tests.test_pipeline_evaluate import FAST


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of weights, empty."""
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def weights_file(path: Path, spelling: str = "tadm-x16", seed: int = 0, **facts: object) -> str:
    """Write small random weights that say of themselves what is wanted: trained and free by default."""
    config, url = small_weights(spelling, seed)
    said = {"trained": True, "licence": "MIT", "redistribution": True, "origins": {"all": "https://there.example"}}
    settings = config.network_settings()
    path.parent.mkdir(exist_ok=True)
    tensors = codec_files.load(codec_files.read_header(url))
    return codec_files.write(str(path), tensors, settings=settings, **{**said, **facts}).url


def test_a_codec_without_weights_says_how_to_get_them():
    with pytest.raises(CodecError, match=r"tadm-x16 needs weights: give --weights FILE \(made by `regrow weights conv"):
        bind(codec_from("tadm-x16"))


def test_the_only_file_that_fits_is_taken_and_a_named_one_before_it(tmp_path, folder):
    lying = codec_files.read_header(weights_file(folder / "a.safetensors"))
    weights_file(folder / "b.safetensors", "tadm-x32")
    named = weights_file(tmp_path / "named.safetensors", seed=1)
    found = bind(codec_from("tadm-x16"))
    assert isinstance(found, LearnedConfig)
    assert (found.weights, found.size) == (lying.digest, "small")
    assert bind(codec_from("tadm-x16"), [named]).weights_digest() == codec_files.read_header(named).digest
    assert bind(found, []) == found
    assert bind(codec_from("bicubic-x4")) == codec_from("bicubic-x4")


def test_a_fit_in_a_folder_that_was_named_ends_the_search_before_the_folder_of_weights(tmp_path, folder):
    weights_file(folder / "a.safetensors")
    named = codec_files.read_header(weights_file(tmp_path / "mine" / "b.safetensors", seed=1))
    places = [str(tmp_path / "mine")]
    assert bind(codec_from("tadm-x16"), places).weights_digest() == named.digest
    beside = codec_files.read_header(weights_file(folder / "v.safetensors", "vae-x8"))
    assert bind(codec_from("vae-x8"), places).weights_digest() == beside.digest  # nothing that was named fits
    weights_file(tmp_path / "mine" / "c.safetensors", seed=2)
    with pytest.raises(CodecError, match=r"2 files .*mine/b\.safetensors, .*mine/c\.safetensors$"):
        bind(codec_from("tadm-x16"), places)


def test_what_comes_with_regrow_is_taken_after_trained_weights_of_ones_own_and_before_untrained_ones(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setattr(codec_files, "SHIPPED", tmp_path / "shipped")
    ours = codec_files.read_header(weights_file(tmp_path / "shipped" / "ours.safetensors"))
    weights_file(folder / "random.safetensors", seed=1, trained=False)
    assert bind(codec_from("tadm-x16")).weights_digest() == ours.digest
    assert codec_files.find(ours.digest, []).url == ours.url
    own = codec_files.read_header(weights_file(folder / "own.safetensors", seed=2))
    assert bind(codec_from("tadm-x16")).weights_digest() == own.digest
    named = codec_files.read_header(weights_file(tmp_path / "mine" / "named.safetensors", seed=3))
    assert bind(codec_from("tadm-x16"), [str(tmp_path / "mine")]).weights_digest() == named.digest


def test_weights_named_by_digest_bring_the_settings_of_their_file(tmp_path):
    config, url = small_weights("tadm-x16", prediction="v")
    job = codec_from({"name": "tadm", "scale": 16, "weights": config.weights})
    found = bind(job, [url])
    assert isinstance(found, LearnedConfig)
    assert (found.weights, found.network_settings()) == (config.weights, config.network_settings())
    said = r"does not fit tadm-x16: they were made for prediction v, not epsilon"
    unlike = replace(config, prediction="epsilon")
    with pytest.raises(CodecError, match=said):
        weights_of(unlike, [url])
    with pytest.raises(Unavailable, match=said):
        unlike.load(Runtime(weights=(url,)))
    other = weights_file(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(CodecError, match=f"they are of digest .*, not {config.weights}"):
        bind(job, [url, other])


def test_an_older_file_that_lacks_a_setting_was_made_for_its_default():
    config, _ = small_weights("tadm-x16")
    older = {name: value for name, value in config.network_settings().items() if name != "space"}
    config.check_made_for(older)
    with pytest.raises(MisfitWeights, match="they were made for space latent, not pixel"):
        replace(config, space="pixel").check_made_for(older)
    with pytest.raises(MisfitWeights, match="they were made for colour no, which tadm has not"):
        config.check_made_for({**older, "colour": "no"})


def test_a_codec_without_weights_refuses_places_of_some(tmp_path):
    said = r"bicubic-x4 has no weights: leave --weights out"
    url, source = weights_file(tmp_path / "w.safetensors"), put_files(str(tmp_path / "photos"), photographs(1))
    bicubic, location = codec_from("bicubic-x4"), locate(str(tmp_path / "there"))
    with pytest.raises(CodecError, match=said):
        archive(request(source, tmp_path / "a", codec=bicubic, weights=(url,)))
    with pytest.raises(CodecError, match=said):
        rg.load_codec("bicubic-x4", weights=url)
    create(location, document_for("bicubic-x4"))
    for codec in (bicubic, None):
        with pytest.raises(CodecError, match=said):
            archive(request(source, tmp_path / "there", codec=codec, weights=(url,)))
    assert len(bind_all([bicubic, codec_from("tadm-x16")], [url])) == 2
    (tmp_path / "t.webp").write_bytes(rg.load_codec("bicubic-x4").encode([makers.photo(64, 48)])[0].thumbnail)  # type: ignore[union-attr]
    with pytest.raises(CodecError, match=said):
        regrow_alone(str(tmp_path / "t.webp"), str(tmp_path / "o.png"), None, None, weights=(url,))


def test_an_archive_that_is_there_decides_which_of_several_weights_are_meant(tmp_path, folder):
    own, other = (weights_file(tmp_path / "mine" / f"{seed}.safetensors", seed=seed) for seed in (0, 1))
    config = bind(codec_from("tadm-x16"), [own])
    document = replace(document_for("bicubic-x4"), codec=config.settings(), codec_digest=config.digest())
    asked = request("photos", "a", codec=codec_from("tadm-x16"), weights=(str(tmp_path / "mine"),))
    assert settled(asked, document).codec == config
    by_digest = {"name": "tadm", "scale": 16, "weights": config.weights_digest()}
    assert settled(request("photos", "a", codec=codec_from(by_digest)), document).codec == config  # its own, wherever
    meant = settled(replace(asked, weights=(other,)), document).codec
    assert meant is not None
    assert meant.weights_digest() == codec_files.read_header(other).digest  # to be refused


def test_a_file_of_another_scale_or_name_is_refused_with_both(tmp_path, folder):
    weights_file(folder / "fits.safetensors")
    other, stranger = weights_file(tmp_path / "x32.safetensors", "tadm-x32"), weights_file(tmp_path / "v.st", "vae-x8")
    with pytest.raises(
        CodecError, match=r"x32\.safetensors does not fit tadm-x16: they were made for scale 32, not 16"
    ):
        bind(codec_from("tadm-x16"), [other])
    with pytest.raises(CodecError, match=r"v\.st does not fit tadm-x16: they were made for name vae, not tadm"):
        bind(codec_from("tadm-x16"), [stranger])
    both = bind_all([codec_from("vae-x8"), codec_from("tadm-x16")], [stranger])
    assert [config.weights_digest() for config in both] == [
        codec_files.read_header(url).digest for url in (stranger, str(folder / "fits.safetensors"))
    ]


def test_of_several_that_fit_one_must_be_named(folder):
    untrained = r"2 files .* --weights: .*a\.safetensors \(untrained\), .*b\.safetensors \(untrained\)$"
    for seed, trained, said in [(0, False, untrained), (2, True, r"2 files .* --weights: .*c\.safetensors, .*d\.s")]:
        for name in ("a", "b") if not trained else ("c", "d"):
            weights_file(folder / f"{name}.safetensors", seed=seed + (name in "bd"), trained=trained)
        with pytest.raises(CodecError, match=said):
            bind(codec_from("tadm-x16"))


def test_weights_of_a_digest_that_are_nowhere_are_asked_for():
    with pytest.raises(Unavailable, match=f"no weights of digest {'0' * 64}"):
        bind(replace(codec_from("tadm-x16"), weights="0" * 64))


def test_a_worker_passes_over_folders_that_only_its_driver_has(tmp_path):
    assert reach(Runtime(), [str(tmp_path), "/nowhere/at/all", "s3://b/w"]).weights == (str(tmp_path), "s3://b/w")


def big(**facts: object) -> codec_files.CodecWeights:
    said = {"trained": True, "licence": "RAIL", "redistribution": True, "origins": {}, "parameters": 1, "settings": {}}
    return codec_files.CodecWeights(**{"url": "/w", "digest": "d", "size_bytes": 2_700_000_000, **said, **facts})


@pytest.mark.parametrize(
    ("weights", "asked", "said"),
    [
        (big(), None, r"/w has 2,700\.0 MB: say --escrow full, and it travels .* or --escrow reference"),
        (big(redistribution=False), "full", r"/w may not be passed on \(RAIL\): say --escrow reference"),
        (big(size_bytes=9_000_000), "reference", r"/w has 9\.0 MB, and so little always travels along"),
        (None, "full", "bicubic-x4 has no weights to travel"),
    ],
)
def test_what_escrow_cannot_be_is_refused(weights, asked, said):
    with pytest.raises(ArchiveError, match=said):
        escrow_kind("bicubic-x4", weights, asked)


def test_escrow_is_what_was_said_or_all_that_may_be():
    assert escrow_kind("tadm-x16", big(), "reference") == "reference"
    assert escrow_kind("tadm-x16", big(), "full") == "full"
    assert escrow_kind("tadm-x16", big(size_bytes=9), None) == "full"
    assert escrow_kind("tadm-x16", big(size_bytes=9, redistribution=False), None) == "reference"


@pytest.mark.parametrize("store", ["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def test_a_file_is_put_from_where_it_lies_and_over_no_other(tmp_path, request, store, monkeypatch):
    root = {"local": str(tmp_path / "a"), "memory": f"memory://{tmp_path.name}"}.get(store) or request.getfixturevalue(
        "s3"
    )
    content = np.random.default_rng(0).bytes((12 << 20) + 1)
    (tmp_path / "w").write_bytes(content)
    (tmp_path / "other").write_bytes(b"other")
    monkeypatch.setattr("ops.stores.uploading.PART_BYTES", 5 << 20)  # in parts, where a store has parts
    assert put_file(join(root, "codec", "w"), str(tmp_path / "w"))
    assert not put_file(join(root, "codec", "w"), str(tmp_path / "other"))
    assert open_store(root).read(join(root, "codec", "w")) == content
    assert [stored.size for stored in open_store(root).walk(root)] == [len(content)]


@pytest.mark.s3
def test_weights_beside_an_archive_elsewhere_are_fetched_once(tmp_path, folder, s3):
    config, url = small_weights("tadm-x16")
    found, location = codec_files.read_header(url), locate(f"{s3}/a")
    document = replace(document_for("bicubic-x4"), codec=config.settings(), codec_digest=config.digest(), escrow="full")
    write_escrow(location, create(location, document), config.load(Runtime(weights=(url,))), found)
    for _ in range(2):
        config.load(reach(Runtime(), places_of(location, ())))
        copies = [path.stat().st_mtime_ns for path in folder.glob(f"{found.digest}.safetensors")]
        assert len(copies) == 1
    assert selftest(location).found == "bit-equal"
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == copies


def test_untrained_weights_are_refused_unless_they_are_allowed(tmp_path):
    source = put_files(str(tmp_path / "photos"), photographs(2))
    codec, url = codec_from("tadm-x16"), weights_file(tmp_path / "w.safetensors", trained=False)
    with pytest.raises(WeightsError, match=r"w\.safetensors holds untrained weights.*or say --allow-untrained"):
        archive(request(source, tmp_path / "a", codec=codec, weights=(url,)))
    with pytest.raises(WeightsError, match=r"w\.safetensors holds untrained weights"):
        rg.load_codec("tadm-x16", weights=url)
    assert rg.load_codec("tadm-x16", weights=url, allow_untrained=True).generative
    with pytest.raises(WeightsError, match="holds untrained weights"):
        evaluate(EvaluateRequest(target=source, protocol=FAST, codecs=[codec], weights=(url,)))
    assert not (tmp_path / "a").exists()


@pytest.mark.ray
def test_an_archive_regrows_by_itself_wherever_it_goes(ray_here, tmp_path, capsys):
    put_files(str(tmp_path / "photos"), photographs(2))
    url = weights_file(tmp_path / "w.safetensors", trained=False)
    made = ["archive", str(tmp_path / "photos"), str(tmp_path / "a"), "--codec", "tadm-x16", "--weights", url]
    assert cli.run([*made, "--allow-untrained"]) == 0
    Path(url).unlink()
    document = read_document(locate(str(tmp_path / "a")))
    assert document is not None
    assert (document.escrow, document.untrained) == ("full", True)
    assert document.notes.startswith("Untrained weights: reconstructions are noise.")
    (tmp_path / "a").rename(tmp_path / "moved")
    assert cli.run(["reconstruct", str(tmp_path / "moved"), str(tmp_path / "out")]) == 0
    found = rg.open(tmp_path / "moved")
    pixels = np.asarray(found["000.jpg"].reconstruct())
    with Image.open(tmp_path / "out" / "000.jpg.png") as picture:
        assert (np.asarray(picture) == pixels).all()

    assert cli.run(["selftest", str(tmp_path / "moved")]) == 0
    assert cli.run(["info", str(tmp_path / "moved")]) == 0
    said = capsys.readouterr().out
    assert "moved: bit-equal" in said
    assert "tadm-x16, UNTRAINED weights: what it regrows is noise" in said
    assert "in the archive; licence: MIT" in said

    # A thumbnail that left it needs the weights named.
    (tmp_path / "t.webp").write_bytes(found["000.jpg"].thumbnail_bytes)
    assert cli.run(["reconstruct", str(tmp_path / "t.webp"), str(tmp_path / "o.png")]) == 1
    assert "whose weights are not in" in capsys.readouterr().err
    codec = ["--weights", str(tmp_path / "moved" / "codec")]
    assert cli.run(["reconstruct", str(tmp_path / "t.webp"), str(tmp_path / "o.png"), *codec, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["untrained"] is True
    with Image.open(tmp_path / "o.png") as picture:
        assert (np.asarray(picture) == pixels).all()

    # The same command without weights, which are the archive's own by now; and with others, which are not.
    assert cli.run(["archive", str(tmp_path / "photos"), str(tmp_path / "moved"), "--codec", "tadm-x16"]) == 0
    assert "holds everything" in capsys.readouterr().out
    other = weights_file(tmp_path / "w1.safetensors", seed=1)
    made = ["archive", str(tmp_path / "photos"), str(tmp_path / "moved"), "--codec", "tadm-x16"]
    assert cli.run([*made, "--weights", other]) == 1
    assert "was made with tadm-x16 (digest" in capsys.readouterr().err

    judged = EvaluateRequest(target=str(tmp_path / "moved"), protocol=FAST, allow_untrained=True)
    assert proposed(judged, Archive.open(judged.target)).untrained == ["tadm-x16"]


def test_a_report_says_of_untrained_weights_that_their_scores_say_nothing():
    found = duel([(24.0, 0.3)] * 6, [(24.0, 0.3)] * 6)
    found = replace(found, document=replace(found.document, untrained=[NANO.name]))
    [told] = verdicts(found, measure(found))
    assert told.headline.startswith("UNTRAINED weights: nano-x16 at ")
    assert told.paragraphs[-1].text.startswith("Its weights are UNTRAINED: random numbers.")


@pytest.mark.ray
def test_weights_that_may_not_be_passed_on_are_named_and_asked_for(ray_here, tmp_path):
    source = put_files(str(tmp_path / "photos"), photographs(1))
    url = weights_file(tmp_path / "w.safetensors", redistribution=False, licence="Community")
    rg.archive(source, tmp_path / "a", "tadm-x16", weights=url)
    assert not list((tmp_path / "a" / "codec").glob("*.safetensors"))
    assert (
        "Licence: Community; they may not be passed on."
        in (tmp_path / "a" / "codec" / "weights-licence.txt").read_text()
    )
    assert rg.open(tmp_path / "a", weights=url)["000.jpg"].reconstruct().size == (48, 32)
    Path(url).rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match=r"only names its weights, .*licence: Community; made of all: https://there"):
        rg.open(tmp_path / "a")["000.jpg"].reconstruct()


def large_run(tmp_path: Path) -> ArchiveRequest:
    """Return a request that a preflight comes before, which random weights do not pass."""
    files = {f"{index:03d}.jpg": makers.encode(makers.photo(200, 180, seed=index), "JPEG") for index in range(65)}
    source, url = put_files(str(tmp_path / "photos"), files), weights_file(tmp_path / "w.safetensors")
    return request(source, tmp_path / "a", codec=codec_from("tadm-x16"), weights=(url,))


def test_before_a_large_run_a_codec_far_below_bicubic_is_refused_and_no_archive_is_left(tmp_path):
    asked = large_run(tmp_path)
    events: list = []
    with pytest.raises(ArchiveError, match=r"tadm-x16 against bicubic-x16: PSNR .* dB, .* \(means of 4 images of at m"):
        archive(asked, events.append)
    [announced] = [event for event in events if isinstance(event, Preflighting)]
    assert (announced.num_images, announced.device) == (4, "cpu")
    assert 0 < announced.seconds == likely_seconds(replace(asked.codec, size="small"), 4, 4 * 200 * 180, "cpu")
    assert not (tmp_path / "a").exists()

    def stopped(event):
        if isinstance(event, Preflighting):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive(asked, stopped)
    with pytest.raises(ArchiveError, match=r"preflight: .* To use others remove .*/a, where nothing is archived yet"):
        archive(replace(asked, codec=None), events.append)  # it is no way around to ask once more
    assert (tmp_path / "a" / "archive.json").exists()


def test_a_refused_preflight_leaves_what_somebody_else_has_put_there(tmp_path):
    stray = tmp_path / "a" / "parts" / "of-another-driver"

    def meanwhile(event):
        if isinstance(event, Preflighting):
            stray.parent.mkdir()
            stray.write_bytes(b"")

    with pytest.raises(ArchiveError, match="To use others remove"):
        archive(large_run(tmp_path), meanwhile)
    assert stray.exists()
    assert (tmp_path / "a" / "archive.json").exists()


def test_a_codec_as_good_as_bicubic_passes_its_preflight():
    config = codec_from("bicubic-x4")
    found = compare(config, config.load(Runtime()), [makers.photo(300, 200)])
    assert found.passed
    assert found.decibels[0] == found.decibels[1]
    assert replace(found, decibels=(20.0, 24.0), perceived=(0.9, 0.5), higher_is_better=False).passed is False
    assert replace(found, decibels=(20.0, 24.0), perceived=(0.4, 0.5), higher_is_better=False).passed
    assert replace(found, decibels=(22.0, 24.0), perceived=(0.9, 0.5), higher_is_better=False).passed
    assert "without" not in found.line()


def test_without_a_number_for_what_eyes_see_psnr_alone_tells_noise_in_a_preflight():
    config = codec_from("bicubic-x4")
    found = compare(config, config.load(Runtime()), [makers.photo(100, 80)])  # too small for MS-SSIM
    assert found.perceived is None
    assert found.passed
    assert "dB, without LPIPS or MS-SSIM (1 image of" in found.line()
    assert replace(found, decibels=(18.5, 24.0)).passed
    assert replace(found, decibels=(9.0, 24.0)).passed is False


def test_deadlines_and_job_files_know_learned_codecs():
    codec = codec_from("tadm-x16")
    assert codec_seconds(codec, 1, 12_000_000, "cpu", down=True, up=True) > 3 * 12 * (60 + 250)
    assert codec_seconds(codec_from("bicubic-x16"), 64, 10**9, "cpu", down=True) == 0
    job = parse_job("kind: reconstruct\narchive: a\ndestination: b\nweights: [w.safetensors, s3://b/w]", "/jobs")
    assert job.weights == ("/jobs/w.safetensors", "s3://b/w")  # type: ignore[union-attr]


class Device:
    """A real codec behind a device that takes several at once and stumbles over one thumbnail."""

    generative, concurrent = False, False

    def __init__(self, stumbles: bytes, said: str) -> None:
        self._codec, self._stumbles, self._said = codec_from("bicubic-x2").load(Runtime()), stumbles, said
        self.calls: list[int] = []

    def decode(self, payloads):
        self.calls.append(len(payloads))
        if any(one.thumbnail == self._stumbles for one in payloads):
            raise RuntimeError(self._said)
        return self._codec.decode(payloads)


def device_and_rows(said: str) -> tuple[Device, list[ImageRow]]:
    rows = []
    for index in range(3):
        payload = codec_from("bicubic-x2").load(Runtime()).encode([makers.photo(64, 48, seed=index)])[0]
        assert isinstance(payload, Payload)
        rows.append(
            ImageRow(
                key=f"{index}", generation=0, uri="file:///x", locator="", etag="", source_bytes=1, width=64, height=48,
                thumbnail=payload.thumbnail, media_type=payload.media_type,
            )
        )  # fmt: skip
    return Device(rows[1].thumbnail or b"", said), rows


STYLE = PictureStyle(
    suffix="png", quality=None, metadata=False, archive="a", codec="bicubic-x2", codec_digest="d", generative=False,
    background="#ffffff",
)  # fmt: skip


def test_one_thumbnail_over_which_a_device_stumbles_fails_alone_of_its_batch():
    device, rows = device_and_rows("CUDA out of memory. Tried to allocate 2 GiB")
    first, second, third = Regrower(device, STYLE, Runtime()).pictures(rows)  # type: ignore[arg-type]
    assert isinstance(first, bytes)
    assert isinstance(third, bytes)
    assert isinstance(second, Failure)
    assert (second.code, "no memory to regrow it" in second.message) == (FailureCode.OUT_OF_MEMORY, True)
    assert device.calls == [3, 1, 1, 1]


def test_a_broken_device_ends_the_run_and_names_the_image_in_hand():
    device, rows = device_and_rows("CUDA error: an illegal memory access was encountered")
    with pytest.raises(ArchiveError, match=r"the device failed over '0' \(CUDA error: an illegal memory access"):
        list(Regrower(device, STYLE, Runtime()).pictures(rows))  # type: ignore[arg-type]
