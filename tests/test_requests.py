"""What can be asked for: the same values are refused, and the same defaults hold, from every face."""

import os
from pathlib import Path

import msgspec
import pytest

import regrow as rg
from jobs import cli
from jobs.requests import archive_request
from jobs.spec import parse_job
from ops.archive.layout import Reading
from ops.decoding import Limits, decode
from ops.images import ImageError
from pipelines import archive as pipeline
from pipelines.documents import check_agrees
from pipelines.requests import ArchiveRequest, ReconstructRequest, RetryRequest, SealRequest
from tests import makers
from tests.archives import document_for, make_archive


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"background": "red"}, "background 'red': write a colour such as '#ffffff'"),
        ({"metadata": "some"}, "metadata 'some': write keep, no-location or none"),
        ({"max_pixels": 0}, "max_pixels 0: write a number above 0"),
        ({"max_side": -1}, "max_side -1: write a number above 0"),
    ],
)
def test_a_wrong_way_to_read_is_refused_wherever_it_is_asked_for(tmp_path, settings, said):
    for ask in (
        lambda: Reading(**settings),
        lambda: rg.archive("photos", tmp_path / "a", "bicubic-x4", **settings),
        lambda: archive_request("photos", str(tmp_path / "a"), None, settings),
    ):
        with pytest.raises(ValueError, match=said.split(":", maxsplit=1)[0].split()[0]):
            ask()
    with pytest.raises(ValueError, match=said):
        Reading(**settings)
    assert list(tmp_path.iterdir()) == []


def test_colours_are_the_same_in_either_case():
    assert Reading(background="#FFFFFF") == Reading()
    assert msgspec.convert({"background": "#ABCDEF"}, Reading).background == "#abcdef"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "jpg", "quality": 101}, "quality 101: write a number from 1 to 100"),
        ({"quality": 50}, "quality is for jpg and webp, not for png"),
        ({"format": "gif"}, "format 'gif': write"),
        ({"address": ""}, "address is empty"),
    ],
)
def test_a_wrong_style_of_pictures_is_refused_wherever_it_is_asked_for(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        ReconstructRequest(archive="a", destination="b", **settings)
    with pytest.raises(ValueError, match=said.split()[0]):
        rg.reconstruct(tmp_path / "a", tmp_path / "b", **settings)


def test_a_wrong_way_with_changes_is_refused():
    with pytest.raises(ValueError, match="changed 'maybe': write refuse, skip or new"):
        ArchiveRequest(source="a", archive="b", changed="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda: ArchiveRequest(source="", archive="b"), "source"),
        (lambda: ArchiveRequest(source="a", archive=" "), "archive"),
        (lambda: ReconstructRequest(archive="", destination="b"), "archive"),
        (lambda: ReconstructRequest(archive="a", destination=""), "destination"),
        (lambda: RetryRequest(archive=""), "archive"),
        (lambda: SealRequest(archive=""), "archive"),
        (lambda: rg.archive("", "b"), "source"),
        (lambda: rg.reconstruct("a", ""), "destination"),
        (lambda: rg.open(""), "archive"),
    ],
)
def test_an_empty_path_is_not_the_working_directory(ask, field):
    with pytest.raises(ValueError, match=f"{field} is empty: name a folder, a file or a URL"):
        ask()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["archive", "", "X"], "source is empty"),
        (["archive", "photos", ""], "archive is empty"),
        (["reconstruct", "ARCHIVE", ""], "destination is empty"),
        (["reconstruct", "THUMBNAIL", ""], "destination is empty"),
        (["reconstruct", "ARCHIVE", "out", "--keys-from", ""], "--keys-from is empty"),
        (["reconstruct", "ARCHIVE", "out", "--where", ""], "--where ''"),
        (["reconstruct", "ARCHIVE", "out", "--match", ""], "--match ''"),
        (["info", ""], "archive is empty"),
        (["ls", ""], "archive is empty"),
        (["ls", "ARCHIVE", "--where", ""], "--where ''"),
        (["ls", "ARCHIVE", "--match", ""], "--match ''"),
        (["show", "ARCHIVE", "png/002.png", "--to", ""], "--to is empty"),
        (["run", ""], "job is empty"),
    ],
)
def test_an_empty_argument_as_of_an_unset_variable_is_wrong_use(tmp_path, monkeypatch, capsys, arguments, said):
    location = make_archive(tmp_path / "a")
    opened = rg.open(location.url)
    (tmp_path / "lone.webp").write_bytes(opened["png/002.png"].thumbnail_bytes)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = {"ARCHIVE": location.url, "THUMBNAIL": "lone.webp"}
    status = cli.run([str(given.get(one, one)) for one in arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_condition_in_python_is_refused(tmp_path):
    archive = rg.open(make_archive(tmp_path / "a").url)
    for empty in ({"match": ""}, {"where": ""}):
        with pytest.raises(rg.ArchiveError, match="''"):
            list(archive.select(**empty))


def test_what_is_not_given_is_as_the_archive_has_it_from_every_face(tmp_path, monkeypatch):
    location = make_archive(tmp_path / "a")
    made = msgspec.structs.replace(document_for(), reading=Reading(metadata="none", max_side=500))
    location.store.put(location.at("archive.json"), msgspec.json.encode(made))
    asked: list[ArchiveRequest] = []
    monkeypatch.setattr(pipeline, "archive", lambda request, _listen: asked.append(request))
    rg.archive(tmp_path, location.url, metadata="none")
    job = parse_job(f"kind: archive\nsource: {tmp_path}\narchive: {location.url}\nreading: {{metadata: none}}")
    command = archive_request(str(tmp_path), location.url, None, {"metadata": "none", "max_pixels": None})
    for request in (asked[0], job, command):
        assert isinstance(request, ArchiveRequest)
        assert request.reading == made.reading
        check_agrees(made, request, location)


def test_limits_are_options_named_in_the_failures_that_they_make(tmp_path, capsys):
    picture = makers.encode(makers.photo(40, 30), "PNG")
    for limit, name in (({"pixels": 1199}, "pixels"), ({"side": 39}, "side"), ({"encoded_bytes": 9}, "encoded_bytes")):
        with pytest.raises(ImageError) as refused:
            decode(picture, Limits(**limit))
        option = f"--max-{name.replace('_', '-')}"
        assert f"make an archive with a larger max_{name} ({option}, or reading.max_{name} in a job file)" in str(
            refused.value
        )
        cli.run(["archive", "--help"])
        assert f"{option} " in capsys.readouterr().out


def test_a_new_archive_reads_by_default_what_is_not_given(tmp_path):
    job = parse_job(f"kind: archive\nsource: a\narchive: {tmp_path / 'new'}\nreading: {{max_side: 7}}")
    assert isinstance(job, ArchiveRequest)
    assert job.reading == Reading(max_side=7)


@pytest.mark.parametrize("relative", [False, True])
def test_a_folder_whose_name_is_not_utf8_is_refused_before_any_work(tmp_path, monkeypatch, capsys, relative):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    try:
        Path(name).mkdir()
    except OSError:
        pytest.skip("this file system knows only UTF-8")
    (Path(name) / "a.jpg").write_bytes(b"an image")
    if relative:
        monkeypatch.chdir(name)
    status = cli.run(["archive", "." if relative else name, str(tmp_path / "a")])
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (2, 1)
    assert "is not UTF-8: rename it" in err
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="is not UTF-8"):
        rg.archive("." if relative else name, tmp_path / "a", "bicubic-x4")
