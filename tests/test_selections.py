"""What a job takes of an archive: keys that were asked for, what is new since its last run, a sample."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobs import cli
from jobs.requests import only
from jobs.runs.earlier import seen_by_last
from jobs.runs.places import place_of
from jobs.runs.record import RunRecord, put_record, read_record, request_digest
from jobs.spec import SpecError, parse_job, read_job
from ops.archive.layout import ArchiveError, locate
from ops.archive.reading import Archive
from ops.archive.seal_names import name_of_seal, stands
from ops.key_lists import keys_in, read_key_lists
from ops.stores import open_store
from pipelines.evaluate import opened, pairs_to_judge
from pipelines.judgings import evaluation_url, proposed
from pipelines.requests import EvaluateRequest, ReconstructRequest
from pipelines.selecting import drawn, known_keys, selection_of
from tests.archives import failed, grow_archive, make_archive, small_images
from tests.runs import jpeg, put_files

NIGHTLY = "kind: reconstruct\narchive: a.regrow\ndestination: out\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a job file of some lines beside the archive; returns the exit status, stdout and stderr."""

    def call(lines: str, *options: str) -> tuple[int, str, str]:
        (tmp_path / "job.yaml").write_text(lines)
        capsys.readouterr()
        status = cli.run(["run", str(tmp_path / "job.yaml"), *options])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def keys_of(archive: Archive, request: ReconstructRequest, since: int | None = None) -> list[str]:
    selection = selection_of(archive, request, since)
    return [key for table in selection.tables(archive) for key in table["key"].to_pylist()]


def asked(folder: Path, **more: object) -> ReconstructRequest:
    """A request for what is asked for, beside an archive."""
    return ReconstructRequest(archive=str(folder / "a.regrow"), destination=str(folder / "out"), **more)  # type: ignore[arg-type]


def record_of(folder: Path, run: str) -> RunRecord:
    """The record of a run of the job file in a folder."""
    found = read_record(place_of(read_job(str(folder / "job.yaml"))), run)
    assert found is not None
    return found


def pictures(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


# Lists of keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b"a.jpg\nb/c.jpg\n", ["a.jpg", "b/c.jpg"]),
        (b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n\r\n", ["a.jpg", "b.jpg"]),
        (b"# last night\n\n   \na.jpg\na.jpg", ["a.jpg"]),
        (b"\\#1.jpg\n#2.jpg\n a.jpg ", ["#1.jpg", " a.jpg "]),
        ("é.jpg\n".encode(), ["é.jpg"]),
        (b"", []),
    ],
)
def test_a_list_has_a_key_a_line_and_may_have_blank_lines_and_remarks(text, keys):
    assert keys_in(text) == keys


def test_all_files_of_a_folder_are_lists_and_each_key_counts_once(tmp_path):
    files = {"monday.txt": b"a.jpg\nb.jpg\n", "deep/er/tuesday": b"b.jpg\nc.jpg\n", ".hidden": b"d.jpg\n"}
    put_files(str(tmp_path / "requests"), files)
    for place in (f"{tmp_path}/requests/", f"{tmp_path}/requests"):
        found = read_key_lists(place)
        assert (list(found.keys), found.num_files, found.problems) == (["a.jpg", "b.jpg", "c.jpg"], 2, [])
    assert found.keys["b.jpg"] == str(tmp_path / "requests" / "monday.txt")
    assert {name: (tmp_path / "requests" / name).read_bytes() for name in files} == files, "a request was touched"


@pytest.mark.parametrize("place", ["s3", "memory"])
def test_lists_lie_below_a_prefix_of_an_object_store_or_are_one_object(place, request):
    url = request.getfixturevalue("s3") if place == "s3" else "memory://lists"
    put_files(f"{url}/requests", {"one": b"a.jpg\n", "more/two": b"b.jpg\na.jpg\n"})
    for spelled in (f"{url}/requests/", f"{url}/requests"):
        assert sorted(read_key_lists(spelled).keys) == ["a.jpg", "b.jpg"]
    assert list(read_key_lists(f"{url}/requests/more/two").keys) == ["b.jpg", "a.jpg"]
    assert read_key_lists(f"{url}/none/") == ({}, 0, [])
    with pytest.raises(FileNotFoundError, match="end it with / where it is a folder"):
        read_key_lists(f"{url}/none")


def test_a_file_that_is_no_list_hides_no_other(tmp_path):
    put_files(str(tmp_path / "r"), {"a": jpeg(1), "b": b"x.jpg\n"})
    found = read_key_lists(str(tmp_path / "r"))
    assert list(found.keys) == ["x.jpg"]
    [problem] = found.problems
    assert problem.startswith(f"{tmp_path}/r/a is not text in UTF-8 (")
    assert problem.endswith("): write one key a line, as `regrow ls` does")


def test_a_file_that_is_too_large_to_be_a_list_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ops.key_lists.MOST_BYTES", 10)
    put_files(str(tmp_path / "r"), {"a": b"0123456789\n", "b": b"x.jpg\n"})
    found = read_key_lists(str(tmp_path / "r"))
    assert list(found.keys) == ["x.jpg"]
    assert "has 11 bytes, and a list of keys at most 10: " in found.problems[0]


@pytest.mark.parametrize("few", [100, 0])
def test_keys_of_a_list_are_looked_up_or_the_catalog_is_read(tmp_path, monkeypatch, few):
    monkeypatch.setattr("pipelines.selecting.FEW_KEYS", few)
    archive = Archive.open(make_archive(tmp_path / "a.regrow").url)
    keys = list(small_images())
    assert known_keys(archive, [keys[3], "none.jpg", keys[0]]) == {keys[0], keys[3]}


def test_lists_add_to_keys_and_other_conditions_hold_too(tmp_path):
    archive = Archive.open(make_archive(tmp_path / "a.regrow").url)
    first, second, third = sorted(small_images())[:3]
    (tmp_path / "list").write_text(f"{second}\nnone.jpg\n")
    job = asked(tmp_path, keys=[first], keys_from=str(tmp_path / "list"))
    assert keys_of(archive, job) == [first, second]
    assert [one.code for one in selection_of(archive, job).refused] == ["not_archived"]
    assert keys_of(archive, asked(tmp_path, keys_from=str(tmp_path / "list"), match="png/*")) == []
    assert third not in keys_of(archive, job)
    with pytest.raises(ArchiveError, match="has no key 'typed'"):
        keys_of(archive, asked(tmp_path, keys=["typed"], keys_from=str(tmp_path / "list")))


@pytest.mark.parametrize("there", ["missing", "empty", "remarks alone"])
def test_where_nothing_is_asked_for_nothing_is_done_and_that_is_no_failure(run, tmp_path, there):
    make_archive(tmp_path / "a.regrow")
    if there != "missing":
        (tmp_path / "requests").mkdir()
    if there == "remarks alone":
        (tmp_path / "requests" / "a.txt").write_text("# nothing today\n")
    status, out, err = run(f"{NIGHTLY}keys_from: requests/\n", "--run-id", "1")
    files = "1 file" if there == "remarks alone" else "0 files"
    assert (status, out) == (0, f"{tmp_path}/requests/ asks for no key ({files}): nothing to do\n")
    assert record_of(tmp_path, "1").outcome == "done"
    assert pictures(tmp_path / "out") == []
    assert "Traceback" not in err


def test_a_list_that_is_not_there_is_an_error_in_a_line(run, tmp_path):
    make_archive(tmp_path / "a.regrow")
    status, out, err = run(f"{NIGHTLY}keys_from: requests.txt\n")
    assert (status, out) == (1, "")
    assert err == (
        f"regrow: {tmp_path}/requests.txt: No such file or directory; end it with / where it is a folder that may be "
        "missing\n"
    )


def test_what_is_asked_for_and_not_there_fails_each_with_a_remedy(run, tmp_path):
    make_archive(tmp_path / "a.regrow")
    put_files(str(tmp_path / "requests"), {"a": b"no/1.jpg\nno/2.jpg\n", "b": b"\xff\xfe"})
    status, out, err = run(f"{NIGHTLY}keys_from: requests/\n", "--run-id", "1", "--json")
    assert (status, err.splitlines()[-1]) == (1, "regrow: 3 images could not be regrown")
    told = json.loads(out)
    assert told["failures"][1:] == [
        f"no/{number}.jpg: asked for in {tmp_path}/requests/a, not in {tmp_path}/a.regrow: archive it, or take the "
        "line away; `regrow ls` lists the keys"
        for number in (1, 2)
    ]
    assert (told["asked_for"], told["regrown"], told["failed"]) == (2, 0, 3)
    record = record_of(tmp_path, "1")
    assert (record.outcome, record.counts.failures) == ("failed", {"no_list": 1, "not_archived": 2})
    assert record.seal is None


# What is new


def test_new_are_rows_of_later_generations_with_what_was_tried_again(tmp_path):
    images = small_images()
    keys = sorted(images)
    location = make_archive(tmp_path / "a.regrow", {**images, keys[0]: failed()})
    job = asked(tmp_path, new_since="last_run")
    assert keys_of(Archive.open(location.url), job, -1) == keys
    assert keys_of(Archive.open(location.url), job, 0) == []
    grow_archive(location, {"new.jpg": jpeg(1)})
    grow_archive(location, {keys[0]: images[keys[0]]}, "retry")
    archive = Archive.open(location.url)
    assert keys_of(archive, job, 0) == [keys[0], "new.jpg"]
    assert keys_of(archive, job, 1) == [keys[0]]
    both = asked(tmp_path, new_since="last_run", match="new*")
    assert keys_of(archive, both, 0) == ["new.jpg"]
    with pytest.raises(ArchiveError, match="goes by the records of runs"):
        keys_of(archive, job)


def recorded(job: ReconstructRequest, run: str, seal: int | None, **more: object) -> None:
    """Leave the record of a run that has seen a seal."""
    name = None if seal is None else name_of_seal(locate(job.archive), seal)
    known = {"kind": "reconstruct", "request": {}, "digest": request_digest(job), "started": "", "outcome": "done"}
    put_record(place_of(job), RunRecord(id=run, seal=name, **{**known, **more}))  # type: ignore[arg-type]


def test_the_newest_seal_of_a_run_of_the_same_job_counts_whatever_the_clocks_said(tmp_path):
    location = make_archive(tmp_path / "a.regrow")
    grow_archive(location, {"new.jpg": jpeg(1)})
    grow_archive(location, {"newer.jpg": jpeg(2)})
    job, told = asked(tmp_path, new_since="last_run"), list[str]()
    assert seen_by_last(job, told.append) == -1
    assert told == ["No run of this job is done yet: all of the archive is new"]
    recorded(job, "z", 0, ended="2030-01-01T00:00:00Z")
    recorded(job, "a", 1, ended="2020-01-01T00:00:00Z")
    # Neither a run that failed nor one of another job.
    recorded(job, "b", None, outcome="failed")
    recorded(job, "c", 2, digest="another")
    assert seen_by_last(job, told.append) == 1
    assert told[-1] == "New is what was archived after seal 1, which run a has seen"
    open_store(str(tmp_path)).put(place_of(job).record("d"), b"{")
    assert seen_by_last(job, told.append) == 1
    assert told[-2].startswith(f"Note: {place_of(job).record('d')} is damaged (")
    assert seen_by_last(asked(tmp_path), told.append) is None


def test_an_archive_made_anew_in_the_same_place_is_all_new(tmp_path):
    location = make_archive(tmp_path / "a.regrow")
    job, told = asked(tmp_path, new_since="last_run"), list[str]()
    recorded(job, "a", 0)
    seal = name_of_seal(location, 0)
    assert stands(location, seal)
    location.store.remove([stored.url for stored in location.store.walk(location.url)])
    assert not stands(location, seal)
    make_archive(tmp_path / "a.regrow", {"other.jpg": jpeg(1)})
    assert not stands(location, seal)
    assert seen_by_last(job, told.append) == -1
    assert told == [
        f"Note: {location.url} is another archive than the one that earlier runs have seen: all of it is new"
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("new_since: yesterday", 'field new_since is "yesterday": write last_run'),
        (
            "new_since: last_run\nkeys: [a]",
            "new_since selects what is new, keys what is named, old or new: leave one out",
        ),
        ("new_since: last_run\nkeys_from: r/", "new_since selects what is new, keys_from what is named"),
        ("keys_from: ''", "keys_from is empty: name a folder, a file or a URL"),
        ("keys_fom: r/", "unknown field keys_fom (did you mean keys_from?)"),
    ],
)
def test_what_excludes_one_another_is_refused_by_name(lines, said):
    with pytest.raises((SpecError, ValueError)) as refused:
        parse_job(NIGHTLY + lines)
    assert said in str(refused.value)


def test_a_list_of_keys_begins_at_the_job_file_and_keeps_its_slash(tmp_path):
    (tmp_path / "job.yaml").write_text(f"{NIGHTLY}keys_from: requests/\n")
    job = read_job(str(tmp_path / "job.yaml"))
    assert isinstance(job, ReconstructRequest)
    assert job.keys_from == f"{tmp_path}/requests/"
    job = parse_job("kind: reconstruct\narchive: a\ndestination: b\nkeys_from: r/", folder="s3://bucket/jobs")
    assert isinstance(job, ReconstructRequest)
    assert job.keys_from == "s3://bucket/jobs/r/"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_each_night_regrows_what_is_new_and_a_failure_keeps_the_mark_where_it_was(run, tmp_path):
    images = {f"{at}.jpg": jpeg(at) for at in range(3)}
    location = make_archive(tmp_path / "a.regrow", images)
    nightly, out = f"{NIGHTLY}new_since: last_run\n", tmp_path / "out"

    def seal_of(night: str) -> int | None:
        seal = record_of(tmp_path, night).seal
        return seal.number if seal else None

    assert run(nightly, "--run-id", "1")[0] == 0
    assert pictures(out) == ["0.jpg.png", "1.jpg.png", "2.jpg.png"]
    # A picture that was taken away is not new.
    (out / "0.jpg.png").unlink()
    status, told, _ = run(nightly, "--run-id", "2")
    assert (status, told) == (0, f"{location.url} has nothing new since the last run (seal 0): nothing to do\n")

    grow_archive(location, {"new/3.jpg": jpeg(3), "new/4.jpg": jpeg(4)})
    (out / "new" / "3.jpg.png").mkdir(parents=True)
    status, told, _ = run(nightly, "--run-id", "3", "--json")
    assert (status, json.loads(told)["regrown"], json.loads(told)["failed"]) == (1, 1, 1)
    assert [seal_of(night) for night in "123"] == [0, 0, None]
    grow_archive(location, {"5.jpg": jpeg(5)})
    (out / "new" / "3.jpg.png").rmdir()
    status, told, _ = run(nightly, "--run-id", "4", "--json")
    found = json.loads(told)
    assert (status, found["regrown"], found["already_there"], found["failed"]) == (0, 2, 1, 0)
    assert seal_of("4") == 2
    assert pictures(out) == ["1.jpg.png", "2.jpg.png", "5.jpg.png", "new/3.jpg.png", "new/4.jpg.png"]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_what_was_asked_for_is_regrown_once_and_the_requests_stay(run, tmp_path):
    images = small_images()
    keys = sorted(images)
    make_archive(tmp_path / "a.regrow", {**images, keys[3]: failed()})
    lists = {"a.txt": f"{keys[0]}\n{keys[1]}\n".encode(), "b.txt": f"{keys[1]}\n{keys[3]}\nnone.jpg\n".encode()}
    put_files(str(tmp_path / "requests"), lists)
    nightly = f"{NIGHTLY}keys_from: requests/\nmatch: 'jpg/00[0-4]*'\n"
    status, told, err = run(nightly, "--json")
    found = json.loads(told)
    assert (status, err.splitlines()[-1]) == (1, "regrow: 1 image could not be regrown")
    counts = {name: found[name] for name in ("asked_for", "regrown", "without_thumbnail", "unmet", "failed")}
    assert counts == {"asked_for": 4, "regrown": 2, "without_thumbnail": 1, "unmet": 0, "failed": 1}
    assert pictures(tmp_path / "out") == [f"{keys[0]}.png", f"{keys[1]}.png"]
    put_files(str(tmp_path / "requests"), {"b.txt": f"{keys[1]}\n{keys[4]}\n".encode()})
    status, told, _ = run(nightly)
    assert status == 0
    assert "  kept       2 pictures that lay there already\n" in told
    assert "  left out   1 image for which match or where does not hold\n" in told
    assert sorted(path.name for path in (tmp_path / "requests").iterdir()) == ["a.txt", "b.txt"]


# Samples


def judged(folder: Path, **more: object) -> EvaluateRequest:
    fields = {"target": "a.regrow", "protocol": "regrow", "baselines": [], **more}
    lines = "\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
    found = parse_job(f"kind: evaluate\n{lines}", folder=str(folder))
    assert isinstance(found, EvaluateRequest)
    return replace(found, protocol=only(found.protocol, ["psnr_rgb"]))  # no metric that loads torch


def test_a_sample_is_of_its_seed_alone_and_of_images_with_a_thumbnail(tmp_path):
    images = {f"{at:03}.jpg": jpeg(at) for at in range(40)}
    archive = Archive.open(make_archive(tmp_path / "a.regrow", {**images, "039.jpg": failed()}).url)

    def keys(**more: object) -> list[str]:
        return [pair.key for pair in pairs_to_judge(drawn(judged(tmp_path, **more), archive), archive)[0]]

    one, other = keys(sample=10, seed="night-1"), keys(sample=10, seed="night-2")
    assert keys(sample=10, seed="night-1") == one
    assert len(one) == len(other) == 10
    assert set(one) != set(other)
    # A larger sample has the smaller one in it, and a share is of what meets the conditions.
    assert set(one) < set(keys(sample=11, seed="night-1"))
    assert len(keys(sample=0.25, match="00*")) == 2
    assert sorted(keys(sample=100)) == sorted(images)[:39]
    with pytest.raises(ArchiveError, match="nothing to draw from"):
        keys(sample=5, match="039*")
    # Over seeds each image comes about as often as the others: 40 draws of 10 of 39.
    often = Counter(key for seed in range(40) for key in keys(sample=10, seed=str(seed)))
    assert len(often) == 39
    assert max(often.values()) <= 22, often


def test_each_sample_is_an_evaluation_of_its_own(tmp_path):
    archive = Archive.open(make_archive(tmp_path / "a.regrow").url)
    asked_for = [judged(tmp_path), judged(tmp_path, sample=2, seed="a"), judged(tmp_path, sample=2, seed="b")]
    urls = [evaluation_url(one, proposed(one, archive), archive) for one in asked_for]
    assert len(set(urls)) == 3
    elsewhere = [judged(tmp_path, sample=2, seed=seed, destination="scores") for seed in "ab"]
    urls = [evaluation_url(one, proposed(one, archive), archive) for one in elsewhere]
    assert {url.rpartition("/")[0] for url in urls} == {str(tmp_path / "scores")}
    assert len(set(urls)) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sample": 0}, "sample 0: write how many images, such as 200, or which share, such as 0.01"),
        ({"sample": 1.5}, "sample 1.5: write how many"),
        ({"sample": "all"}, 'field sample is "all": write a whole number or a number'),
        ({"seed": "x"}, "seed 'x' draws a sample, and none is asked for"),
    ],
)
def test_a_sample_that_nobody_can_draw_is_refused(tmp_path, more, said):
    with pytest.raises((SpecError, ValueError)) as refused:
        judged(tmp_path, **more)
    assert said in str(refused.value)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_each_run_judges_a_sample_of_its_own(run, tmp_path):
    sources = put_files(str(tmp_path / "photos"), {f"{at}.jpg": jpeg(at) for at in range(8)})
    assert cli.run(["archive", sources, str(tmp_path / "a.regrow"), "--codec", "bicubic-x4", "--quiet"]) == 0
    (tmp_path / "fast.yaml").write_text("name: fast\nabout: of a test\nmetrics: [{name: psnr}]\n")
    job = "kind: evaluate\ntarget: a.regrow\nprotocol: fast.yaml\nbaselines: []\nsample: 3\n"
    chosen: dict[str, set[str]] = {}
    for night in ("1", "2", "2"):
        status, told, err = run(job, "--run-id", night, "--json")
        assert status == 0, err
        if night in chosen:
            assert "nothing is run again" in err
            continue
        url = json.loads(told)["evaluation"]
        assert json.loads(told)["images"] == 3
        assert opened(url).document.selection == {"sample": 3, "seed": night}
        rows = (Path(url) / "scores.csv").read_text().splitlines()[1:]
        chosen[night] = {row.partition(",")[0] for row in rows}
    assert [len(keys) for keys in chosen.values()] == [3, 3]
    assert chosen["1"] != chosen["2"]


def test_an_estimate_is_of_what_would_be_selected(tmp_path, capsys):
    location = make_archive(tmp_path / "a.regrow", {f"{at}.jpg": jpeg(at) for at in range(6)})
    (tmp_path / "list").write_text("1.jpg\n4.jpg\nnone.jpg\n")
    recorded(asked(tmp_path, new_since="last_run"), "1", 0)
    grow_archive(location, {f"new{at}.jpg": jpeg(at) for at in range(3)})

    def images(lines: str) -> int:
        (tmp_path / "job.yaml").write_text(lines)
        assert cli.run(["estimate", str(tmp_path / "job.yaml"), "--seconds", "0", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["images"]

    assert images(NIGHTLY) == 9
    assert images(f"{NIGHTLY}keys_from: list\n") == 2
    assert images(f"{NIGHTLY}new_since: last_run\n") == 3
