"""Verifying an archive: intact, or which object is damaged and which images with it; and share by share over nights."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from jobs import cli
from jobs.runs.earlier import last_sweep
from jobs.runs.places import place_of
from jobs.runs.record import read_record
from jobs.spec import SpecError, parse_job, read_job
from ops.archive import verifying
from ops.archive.layout import Location, locate
from ops.archive.packs import Pack
from ops.archive.reading import Archive
from ops.stores.local import LocalStore
from pipelines.requests import VerifyRequest
from pipelines.verify import Sweep, Verified, next_packs, verify
from tests.archives import copy_here, failed, grow_archive, make_archive, small_images
from tests.runs import jpeg


@pytest.fixture
def grown(tmp_path: Path) -> Location:
    """An archive of three generations, a pack each, with a failure."""
    location = make_archive(tmp_path / "a.regrow", {**small_images(), "bad.jpg": failed()})
    grow_archive(location, {"new.jpg": jpeg(1)})
    grow_archive(location, {"newer.jpg": jpeg(2)})
    return location


def look(location: Location, **more: object) -> Verified:
    return verify(VerifyRequest(archive=location.url, **more))  # type: ignore[arg-type]


def damaged(location: Location) -> list[tuple[str, str]]:
    """What is damaged: its name in the archive, and why."""
    return [(one.url.removeprefix(f"{location.url}/"), one.why) for one in look(location).damages]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_an_archive_is_intact_and_nothing_more_is_said(grown, capsys):
    assert cli.run(["verify", grown.url]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == f"{grown.url}: intact: every thumbnail as written"
    assert "3 packs of 3 (100 %), 9 images" in told
    assert "delete" not in told


def test_one_bit_of_a_thumbnail_is_found_with_its_key_and_a_remedy(grown, capsys):
    archive = Archive.open(grown.url)
    row = archive.find("new.jpg")
    assert row is not None
    assert row.offset is not None
    flip(Path(grown.at(row.pack)), row.offset + 10)
    assert cli.run(["verify", grown.url, "--json"]) == 1
    told, err = capsys.readouterr()
    found = json.loads(told)
    assert (found["intact"], found["packs_read"]) == (False, 3)
    [damage] = found["damages"]
    assert (damage["images"], damage["keys"]) == (1, ["new.jpg"])
    assert err.splitlines()[-1] == (
        f"regrow: 1 object of {grown.url} damaged, and with that the thumbnails of 1 image: {grown.at(row.pack)} is "
        "not as it was sealed; 1 thumbnail is damaged ('new.jpg'): restore it from a copy"
    )


def test_a_bit_beside_the_thumbnails_is_found_and_spares_them(grown):
    pack = grown.at(Archive.open(grown.url).seal.packs[0].name)
    flip(Path(pack), -200)  # in the footer
    [damage] = look(grown).damages
    assert (damage.images, damage.keys) == (0, [])
    assert damage.why.startswith("is not as it was sealed; its thumbnails are intact, what else it keeps")


@pytest.mark.parametrize("how", ["gone", "cut", "longer"])
def test_a_pack_that_is_gone_cut_or_longer_is_found(grown, how):
    pack = Path(grown.at(Archive.open(grown.url).seal.packs[0].name))
    content = pack.read_bytes()
    pack.unlink()
    if how != "gone":
        pack.write_bytes(content[:100] if how == "cut" else content + b"x")
    [damage] = look(grown).damages
    lost = 0 if how == "longer" else 6
    assert (damage.images, len(damage.keys)) == (lost, min(lost, 5))
    size = f"has {100 if how == 'cut' else len(content) + 1:,} bytes, where {len(content):,} were sealed"
    assert damage.why.startswith("is missing" if how == "gone" else size)


def test_catalog_plans_seals_and_their_chain_count_too(grown):
    seal = Archive.open(grown.url).seal
    place = Path(grown.url)
    flip(place / seal.catalog[0].name, 40)
    assert damaged(grown) == [(seal.catalog[0].name, "is not as it was sealed")]
    flip(place / seal.catalog[0].name, 40)

    index = next((place / "plan" / "00001").glob("*.parquet"))
    flip(index, 30)
    assert damaged(grown) == [(f"plan/00001/{index.name}", "is not as it was sealed")]
    flip(index, 30)

    plan = place / "plan" / "00000" / "plan.json"
    content = plan.read_bytes()
    plan.write_bytes((place / "plan" / "00001" / "plan.json").read_bytes())
    assert ("plan/00000/plan.json", "is not the plan that was sealed") in damaged(grown)
    plan.unlink()
    assert damaged(grown) == [("plan/00000/plan.json", "is missing, or cannot be read")]
    plan.write_bytes(content)

    old = place / "seals" / "00001.json"
    old.write_bytes(old.read_bytes().replace(b'"num_images": 8', b'"num_images": 9'))
    assert damaged(grown) == [("seals/00001.json", "is not the seal that the next one was built upon")]
    old.unlink()
    [(name, why)] = damaged(grown)
    assert name == "seals/00001.json"
    assert why.startswith("is missing, or cannot be read")


def test_where_catalog_and_pack_are_damaged_both_are_told(grown):
    seal = Archive.open(grown.url).seal
    flip(Path(grown.at(seal.catalog[0].name)), 40)
    flip(Path(grown.at(seal.packs[1].name)), 400)
    assert [name for name, _ in damaged(grown)] == [seal.catalog[0].name, seal.packs[1].name]
    assert damaged(grown)[1][1].endswith("which images suffer is not known, since the catalog is damaged")


def test_a_bad_disk_is_damage_and_a_store_that_is_away_is_not(grown, monkeypatch):
    read = LocalStore.read

    def failing(number: int) -> None:
        def broken(self: LocalStore, url: str, start: int = 0, end: int | None = None, *, etag: str = "") -> bytes:
            if url.endswith("packs/00001-00000.parquet"):
                raise OSError(number, os.strerror(number), url)
            return read(self, url, start, end, etag=etag)

        monkeypatch.setattr(LocalStore, "read", broken)

    failing(errno.EIO)
    [damage] = look(grown).damages
    assert (damage.why, damage.keys) == ("cannot be read (Input/output error)", ["new.jpg"])
    failing(errno.EACCES)
    with pytest.raises(PermissionError):
        look(grown)


def test_large_packs_are_read_in_pieces(grown, monkeypatch):
    monkeypatch.setattr(verifying, "READ_BYTES", 1000)
    assert look(grown).damages == []


def test_an_archive_on_an_object_store_is_verified(grown, s3):
    location = make_archive(f"{s3}/a.regrow")
    assert look(location).damages == []
    pack = Archive.open(location.url).seal.packs[0]
    location.store.put(location.at(pack.name), location.store.read(location.at(pack.name))[:-1] + b"x")
    [damage] = look(location).damages
    assert damage.url == location.at(pack.name)


def test_verifying_needs_neither_ray_nor_torch(grown):
    code = dedent(f"""
        import sys
        sys.modules["ray"] = sys.modules["torch"] = None
        from jobs import cli
        sys.exit(cli.run(["verify", {grown.url!r}, "--quiet"]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Share by share


def packs(number: int) -> list[Pack]:
    return [Pack(f"packs/{index}", 1, 1, "") for index in range(number)]


@pytest.mark.parametrize(("share", "number"), [(0.1, 60), (0.3, 10), (0.34, 3), (0.01, 7), (1.0, 4), (0.5, 1)])
def test_each_pack_is_read_once_before_any_is_read_twice(share, number):
    sweep, seen, runs, chosen = Sweep(), list[str](), 0, packs(0)
    while len(set(seen)) < number:
        found, after = next_packs(packs(number), share, sweep)
        assert after is not None
        chosen = list(found)
        seen += [pack.name for pack in chosen]
        sweep, runs = after, runs + 1
    assert max(seen.count(name) for name in seen) <= 2
    assert len(seen) - number < len(chosen), "some were read twice before others were read"
    assert runs == -(-number // len(chosen))
    assert sweep.turn == runs


def test_while_an_archive_grows_a_pack_a_night_old_packs_have_their_turn(tmp_path):
    sweep, last, longest = Sweep(), dict[str, int](), 0
    for night in range(400):
        number = 100 + night
        chosen, after = next_packs(packs(number), 0.1, sweep)
        assert after is not None
        sweep = after
        last |= {pack.name: night for pack in chosen}
        waited = [night - last.get(f"packs/{index}", max(0, index - 99)) for index in range(number)]
        longest = max(longest, *waited)
    assert longest <= 12


def test_nights_go_through_all_packs_and_a_run_that_is_asked_for_again_reads_nothing(grown, tmp_path, capsys):
    job = tmp_path / "verify.yaml"
    job.write_text("kind: verify\narchive: a.regrow\nshare: 0.3\n")
    place, read = place_of(read_job(str(job))), list[int]()
    flip(Path(grown.at(Archive.open(grown.url).seal.packs[1].name)), 400)
    for night, status in (("1", 0), ("2", 1), ("3", 0), ("4", 0)):
        assert cli.run(["run", str(job), "--run-id", night, "--json"]) == status
        read.append(json.loads(capsys.readouterr().out)["packs_read"])
        record = read_record(place, night)
        # Damage stops no sweep: the other packs have their turn, too.
        assert record is not None
        assert (record.sweep, record.outcome) == (
            Sweep(turn=int(night), next_pack=int(night) % 3),
            "failed" if status else "done",
        )
        assert (record.seal is None) == bool(status)
    assert read == [1, 1, 1, 1]
    assert read_record(place, "2").counts.failures == {"damaged": 1}  # type: ignore[union-attr]
    assert cli.run(["run", str(job), "--run-id", "4"]) == 0
    assert "nothing is run again" in capsys.readouterr().err
    asked = read_job(str(job))
    assert isinstance(asked, VerifyRequest)
    assert last_sweep(asked, print) == Sweep(turn=4, next_pack=1)
    assert last_sweep(VerifyRequest(archive=asked.archive, share=0.5), print) is None


def test_what_a_share_leaves_unread_is_not_called_intact(grown, capsys):
    assert cli.run(["verify", grown.url, "--share", "0.3"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == f"{grown.url}: intact as far as it was read: every thumbnail there as written"
    assert "1 pack of 3 (33.3 %)" in told


def test_archiving_goes_on_while_an_archive_is_verified(grown):
    verifying_place = place_of(VerifyRequest(archive=grown.url))
    archiving = parse_job(f"kind: seal\narchive: {grown.url}\n")
    assert verifying_place.lease != place_of(archiving).lease
    assert verifying_place.records == place_of(archiving).records


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", ".nan"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises((SpecError, ValueError), match=r"write a number above 0, up to 1, such as 0\.05"):
        parse_job(f"kind: verify\narchive: a\nshare: {share}\n")


def test_what_is_no_archive_is_told_in_a_line(tmp_path, capsys):
    assert cli.run(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"regrow: {tmp_path} is no archive (it has no archive.json): ")


def test_weights_that_travel_along_are_missed(grown, tmp_path):
    copy = locate(str(copy_here(grown, tmp_path / "copy")))
    assert look(copy).damages == []
    record = (
        '{"digest":"d","file":"d.safetensors","size_bytes":7,"parameters":1,"trained":true,"licence":"l",'
        '"redistribution":true,"origins":{}}'
    )
    codec = Path(copy.url) / "codec"
    codec.mkdir(exist_ok=True)
    (codec / "weights.json").write_text(record)
    assert damaged(copy) == [("codec/d.safetensors", "is missing: nothing can be regrown without these weights")]
    (codec / "d.safetensors").write_bytes(b"123456")
    assert damaged(copy) == [("codec/d.safetensors", "has 6 bytes, where 7 were put")]
    (codec / "d.safetensors").write_bytes(b"1234567")
    assert damaged(copy) == []
