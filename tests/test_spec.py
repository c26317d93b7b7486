"""Job files: what they may say, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from jobs.errors import UsageError
from jobs.spec import KINDS, SpecError, parse_job, read_job
from ops.archive.layout import Reading
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.names import DEFAULT_CODEC, codec_from
from ops.images import FailureCode
from pipelines.requests import ArchiveRequest, EvaluateRequest, ReconstructRequest, RetryRequest, SealRequest

EXAMPLES = Path(__file__).parents[1] / "jobs" / "examples"
ARCHIVE = "kind: archive\nsource: photos\narchive: a.regrow\n"
GROW = "kind: reconstruct\narchive: a\ndestination: b\n"


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_an_example_of_each_kind(kind):
    job = read_job(str(EXAMPLES / f"{kind}.yaml"))
    assert isinstance(job, KINDS[kind])
    place = job.target if isinstance(job, EvaluateRequest) else job.archive
    assert place == str(EXAMPLES / "photos.regrow")


def test_the_example_of_archiving_shows_every_field_at_its_default():
    job = read_job(str(EXAMPLES / "archive.yaml"))
    assert job == ArchiveRequest(
        source=job.source, archive=job.archive, codec=codec_from(DEFAULT_CODEC), reading=Reading()
    )
    text = (EXAMPLES / "archive.yaml").read_text()
    assert [name for name in ArchiveRequest.__struct_fields__ if f"{name}:" not in text] == []


def test_each_kind_becomes_its_request():
    assert parse_job(ARCHIVE) == ArchiveRequest(source="photos", archive="a.regrow")
    assert parse_job(GROW + "keys: [x]") == ReconstructRequest(archive="a", destination="b", keys=["x"])
    retry = RetryRequest(archive="a", codes=[FailureCode.VANISHED])
    assert parse_job("kind: retry\narchive: a\ncodes: [vanished]") == retry
    assert parse_job("kind: seal\narchive: a") == SealRequest(archive="a")


@pytest.mark.parametrize("codec", ["bicubic-x8", "{name: bicubic, scale: 8}"])
def test_a_codec_is_a_spelling_or_a_mapping(codec):
    job = parse_job(f"{ARCHIVE}codec: {codec}")
    assert isinstance(job, ArchiveRequest)
    assert job.codec == BicubicConfig(scale=8)


def test_relative_paths_begin_at_the_job_file(tmp_path):
    (tmp_path / "jobs").mkdir()
    file = tmp_path / "jobs" / "a.yaml"
    file.write_text("kind: archive\nsource: ../photos/\narchive: s3://bucket/a.regrow")
    job = read_job(str(file))
    assert isinstance(job, ArchiveRequest)
    assert (job.source, job.archive) == (f"{tmp_path}/photos/", "s3://bucket/a.regrow")
    file.write_text("kind: archive\nsource: /elsewhere\narchive: a")
    assert read_job(str(file)).archive == f"{tmp_path}/jobs/a"


def test_beside_a_job_file_on_s3_paths_are_on_s3():
    job = parse_job("kind: archive\nsource: ../photos\narchive: a", folder="s3://bucket/jobs")
    assert isinstance(job, ArchiveRequest)
    assert (job.source, job.archive) == ("s3://bucket/photos", "s3://bucket/jobs/a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a job file is a mapping that begins with `kind:`"),
        ("- a", "a job file is a mapping"),
        ("kind: [", "not YAML in line 1"),
        ("source: a", "kind is missing: write archive, reconstruct, evaluate, retry, seal or verify"),
        ("kind: archiv", "kind is 'archiv' (did you mean archive?)"),
        ("kind: archive\narchive: a", "field source is missing"),
        ("kind: archive\nsource: ''\narchive: a", "source is empty: name a folder, a file or a URL"),
        (ARCHIVE + "archive: b", "'archive' stands twice"),
        (ARCHIVE + "chnaged: skip", "unknown field chnaged (did you mean changed?): there are source, archive"),
        (ARCHIVE + "changed: maybe", 'field changed is "maybe": write new, refuse or skip'),
        (ARCHIVE + "changed: no", "field changed is false: write new, refuse or skip"),
        (ARCHIVE + "seal: 1", "field seal is 1: write true or false"),
        (ARCHIVE + "codec: bicubik-x4", "field codec: no codec 'bicubik-x4'; did you mean bicubic?"),
        (ARCHIVE + "codec: {name: bicubic, sacle: 4}", "field codec: codec bicubic:"),
        (ARCHIVE + "reading: keep", 'field reading is "keep": write a mapping with background, metadata'),
        (ARCHIVE + "reading: {max_pixel: 4}", "unknown field reading.max_pixel (did you mean max_pixels?)"),
        (ARCHIVE + "reading: {max_pixels: 4e8}", 'field reading.max_pixels is "4e8": write a whole number'),
        (ARCHIVE + "reading: {max_pixels: 0}", "field reading.max_pixels is 0: write a whole number from 1"),
        (ARCHIVE + "reading: {metadata: some}", 'field reading.metadata is "some": write keep, no-location or none'),
        (ARCHIVE + "reading: {background: '#12'}", "background '#12': write a colour"),
        (GROW + "format: gif", 'field format is "gif": write jpg, png, tiff or webp'),
        (GROW + "quality: 50", "quality is for jpg and webp, not for png"),
        (GROW + "format: jpg\nquality: 101", "quality 101: write a number from 1 to 100"),
        (GROW + "keys: x.jpg", 'field keys is "x.jpg": write a list of: text'),
        ("kind: retry\narchive: a\ncodes: [lost]", 'field codes is ["lost"]: write a list of: empty, not_an_image'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_file(tmp_path, text, said):
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as refused:
        read_job(str(file))
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert said in message
    assert "\n" not in message


def test_wrong_use_of_a_job_file_is_wrong_use():
    assert issubclass(SpecError, UsageError)


def test_a_job_file_runs_no_code(tmp_path):
    with pytest.raises(SpecError, match="not YAML"):
        parse_job(f"kind: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert list(tmp_path.iterdir()) == []
