"""The command line where no run is needed: help, errors, looking at archives, one thumbnail alone."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from rich.console import Console

from jobs import cli, info
from jobs.commands import archiving, reconstructing
from jobs.errors import tell
from jobs.half_blocks import draw
from ops.archive.reading import Archive
from ops.codecs.base import Payload, Runtime
from ops.codecs.names import codec_from, known_spellings
from ops.images import FailureCode
from ops.pictures import Suffix
from ops.thumbnails import decode_thumbnail
from pipelines.requests import Changed
from tests import makers
from tests.archives import failed, grow_archive, make_archive, small_images

ROOT = Path(__file__).parents[1]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Six good images and two failures; its folder is where commands run."""
    monkeypatch.chdir(tmp_path)
    broken = {"lost/[b].jpg": failed(FailureCode.VANISHED, "no longer there"), "lost/a.jpg": failed()}
    return make_archive(tmp_path / "a.regrow", {**small_images(), **broken})


@pytest.fixture
def regrow(capsys):
    """Run a command as `main` does; return status, stdout and stderr."""

    def run(*arguments):
        status = cli.run([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def regrow_apart(*arguments, code="from jobs.cli import main; main()"):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_front_page_shows_the_commands_in_order(regrow):
    status, out, _ = regrow("--help")
    names = ["archive", "reconstruct", "show", "info", "run", "ls", "failures", "retry", "seal"]
    at = [out.index(f"\u2502 {name} ") for name in names]
    assert status == 0
    assert at == sorted(at)


@pytest.mark.parametrize("name", ["archive", "reconstruct", "show", "info", "run", "ls", "failures", "retry", "seal"])
def test_each_command_has_help_with_an_example(regrow, name):
    status, out, _ = regrow(name, "--help")
    assert status == 0
    assert f"Example:  regrow {name} " in out


def test_the_front_page_imports_nothing_slow():
    code = "import sys; from jobs.cli import run; run(['--help']); print(sorted(sys.modules))"
    loaded = regrow_apart(code=code).stdout.rpartition("\n[")[2]
    slow = ("ray", "torch", "pyarrow", "numpy", "PIL", "fsspec", "yaml")
    assert "'jobs.cli'" in loaded
    assert [name for name in slow if f"'{name}'" in loaded] == []


def test_looking_at_an_archive_imports_neither_ray_nor_torch(archive):
    code = "import sys; from jobs.cli import run; run(sys.argv[1:]); print(sorted(sys.modules))"
    loaded = regrow_apart("info", archive.url, code=code).stdout.rpartition("\n[")[2]
    assert "'pyarrow'" in loaded
    assert "'ray'" not in loaded
    assert "'torch'" not in loaded


def test_another_package_called_ops_is_named_with_the_remedy(tmp_path):
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "__init__.py").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from jobs.cli import main; main()"
    shadowed = regrow_apart("--help", code=code)
    assert shadowed.returncode == 2
    assert len(shadowed.stderr.splitlines()) == 1
    assert str(tmp_path / "ops") in shadowed.stderr
    assert "pip uninstall ops" in shadowed.stderr


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("ray", "this needs ray: pip install 'regrow[ray]'"),
        ("torch", "nano-x16 needs torch: pip install 'regrow[nano]'"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_the_remedy(tmp_path, module, told):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(makers.encode(makers.photo(20, 20), "PNG"))
    lacking = f"import sys; sys.modules[{module!r}] = None; from jobs import cli; cli.main()"
    done = regrow_apart("archive", tmp_path / "photos", tmp_path / "a", code=lacking)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"regrow: {told}"
    assert "Traceback" not in done.stderr


def test_only_what_is_expected_to_be_missing_is_told_as_missing():
    lacks_avif = tell(ModuleNotFoundError("avif-q40: this Pillow has no AVIF: install another"))
    assert lacks_avif == ("avif-q40: this Pillow has no AVIF: install another", 1)
    assert tell(ModuleNotFoundError("No module named 'oops'", name="oops")) is None


def test_choices_typed_on_the_command_line_are_those_of_the_pipelines():
    assert get_args(archiving.Changed) == get_args(Changed)
    assert get_args(reconstructing.Format) == get_args(Suffix)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["frob"], 2, "'frob'"),
        (["archive"], 2, "missing argument 'SOURCE'"),
        (["archive", "a", "b", "--changed", "x"], 2, "'x' is not one of 'refuse', 'skip', 'new'"),
        (["archive", "a", "b", "--codec", "bicubik-x16"], 2, "did you mean bicubic?"),
        (["archive", "a", "b", "--codec", "bicubic-x99"], 2, "scale 99 is out of range; it is 2 to 64"),
        (["archive", "a", "b", "--background", "puce"], 2, "background 'puce': write a colour such as '#ffffff'"),
        (["archive", "a", "b", "--max-pixels", "0"], 2, "max_pixels 0: write a number above 0"),
        (["archive", "nowhere", "new.regrow"], 1, "nowhere"),
        (["info", "nowhere"], 1, "nowhere is no archive (it has no archive.json)"),
        (["ls", "nosuch://x"], 1, "unknown scheme nosuch://"),
        (["retry", "ARCHIVE", "--code", "lost"], 2, "no failure code 'lost': there are empty, not_an_image"),
        (["ls", "ARCHIVE", "--where", "widht > 4"], 2, "columns are key, generation"),
        (["show", "ARCHIVE", "a/png/002.png"], 1, "did you mean 'png/002.png'?"),
        (["show", "ARCHIVE", "nothing"], 1, "has no key 'nothing'"),
        (["reconstruct", "ARCHIVE", "out", "--quality", "5"], 2, "quality is for jpg and webp, not for png"),
        (["reconstruct", "ARCHIVE", "out", "--format", "jpg", "--quality", "101"], 2, "from 1 to 100"),
        (["reconstruct", "ARCHIVE", "out", "no", "such"], 1, "has no key 'no' (and 1 more)"),
        (["reconstruct", "ARCHIVE", "out", "--keys-from", "no.txt"], 1, "no.txt: No such file or directory"),
        (["seal", "nowhere"], 1, "nowhere is no archive"),
        (["run", "no.yaml"], 1, "no.yaml: No such file or directory"),
        (["info", "~old/x"], 1, "~old/x is no archive"),
        (["ls", "ARCHIVE", "--where", "status in []"], 2, "'[]' is empty: name what it may be"),
        (["ls", "ARCHIVE", "--where", "width in ['a']"], 2, "cannot be applied"),
        (["ls", "ARCHIVE", "--where", f"width > 1{'0' * 400}"], 2, "is too large a number"),
    ],
)
def test_an_error_is_one_line_with_its_exit_status(regrow, archive, arguments, status, said):
    found, out, err = regrow(*[archive.url if one == "ARCHIVE" else one for one in arguments])
    assert (found, out) == (status, "")
    assert said in err
    assert err.startswith("regrow: ")
    assert err.count("\n") == 1


def test_a_refused_archive_leaves_nothing_behind(regrow, tmp_path):
    regrow("archive", tmp_path / "nowhere", tmp_path / "new.regrow")
    assert list(tmp_path.iterdir()) == []


def test_with_regrow_debug_the_traceback_is_shown(regrow, tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_DEBUG", "1")
    with pytest.raises(Exception, match="no archive"):
        regrow("info", tmp_path)


def test_nothing_to_do_is_no_failure(regrow, tmp_path):
    location = make_archive(tmp_path / "a")
    for command in ("retry", "seal"):
        status, out, err = regrow(command, location.url)
        assert (status, err) == (0, "")
        assert location.url in out
    status, out, _ = regrow("retry", location.url, "--json")
    assert status == 0
    assert "no image failed" in json.loads(out)["nothing_to_do"]
    assert json.loads(out)["images"] == 6


def test_ls_lists_keys_sorted_and_chooses(regrow, archive):
    _, out, _ = regrow("ls", archive.url)
    assert out.splitlines() == sorted([*small_images(), "lost/[b].jpg", "lost/a.jpg"])
    _, out, _ = regrow("ls", archive.url, "--match", "png/*", "--where", "width > 43")
    assert out == "png/005.png\n"


def test_ls_long_and_json_say_sizes(regrow, archive):
    _, out, _ = regrow("ls", archive.url, "-l", "--match", "png/002*")
    row = Archive.open(archive.url).find("png/002.png")
    assert out.split() == ["42x30", str(row.source_bytes), str(row.length), "png/002.png"]
    _, out, _ = regrow("ls", archive.url, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["status"] for row in rows} == {"ok", "unreadable", "vanished"}


def test_ls_into_head_ends_quietly(tmp_path):
    images = {f"{'k' * 200}{index}.jpg": failed() for index in range(1000)}  # more than a pipe holds
    location = make_archive(tmp_path / "a", images)
    program = f"{sys.executable} -c 'from jobs.cli import main; main()' ls {location.url} | head -n 1"
    done = subprocess.run(["bash", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_failures_come_by_code_then_key_with_messages(regrow, archive):
    _, out, _ = regrow("failures", archive.url)
    lines = [line.split(maxsplit=2) for line in out.splitlines()]
    assert lines[0] == ["CODE", "KEY", "MESSAGE"]
    assert [line[:2] for line in lines[1:]] == [["unreadable", "lost/a.jpg"], ["vanished", "lost/[b].jpg"]]
    assert lines[2][2].strip() == "no longer there"
    _, out, _ = regrow("failures", archive.url, "--json")
    assert {json.loads(line)["code"] for line in out.splitlines()} == {"unreadable", "vanished"}


def test_info_adds_up(regrow, archive):
    _, out, _ = regrow("info", archive.url, "--json")
    found, seal = json.loads(out), Archive.open(archive.url).seal
    assert found["codec"] == "bicubic-x4"
    assert found["generative"] is False
    assert found["totals"]["failures"] == {"unreadable": 1, "vanished": 1}
    assert found["whole"]["num_bytes"] == sum(one.num_bytes for one in [*seal.packs, *seal.catalog])
    assert found["thumbnails"]["bits_per_pixel"] == pytest.approx(8 * seal.totals.thumbnail_bytes / seal.totals.pixels)
    _, out, _ = regrow("info", archive.url)
    for said in (
        "not generative",
        "thumbnails alone",
        "catalog",
        "unreadable 1, vanished 1",
        f"{seal.packs[0].num_bytes:,}",
    ):
        assert said in out


def test_info_of_an_archive_that_is_not_sealed_says_how_to_finish(regrow, tmp_path):
    location = make_archive(tmp_path / "a b", sealed=False, chunk_images=2)
    done = sorted((tmp_path / "a b" / "parts").iterdir())
    done[0].unlink()
    _, out, _ = regrow("info", location.url)
    assert "2 of 3 chunks done (6 images planned)" in out
    assert f"regrow archive memory://source '{location.url}'" in out
    assert regrow("ls", location.url)[0] == 1
    status, _, err = regrow("seal", location.url)
    assert status == 1
    assert "1 of 3 chunks are not done" in err


def test_info_tells_of_growth_that_is_not_sealed(regrow, archive):
    grow_archive(archive, {"new.jpg": makers.encode(makers.photo(seed=9), "JPEG")}, sealed=False)
    _, out, _ = regrow("info", archive.url)
    assert "generation 1 is not sealed yet: 1 of 1 chunk done" in out
    assert f"regrow seal {archive.url}" in out
    status, out, _ = regrow("seal", archive.url, "--json")
    # What failed in the generation before was told then.
    assert (status, json.loads(out)["generation"], json.loads(out)["images"]) == (0, 1, 9)


def test_show_says_what_is_kept_and_writes_the_exact_thumbnail(regrow, archive, tmp_path):
    opened, to = Archive.open(archive.url), tmp_path / "t.webp"
    kept = opened.thumbnail(opened.find("png/002.png"))
    status, out, _ = regrow("show", archive.url, "png/002.png", "--to", to, "--json")
    facts = json.loads(out)
    assert status == 0
    assert to.read_bytes() == kept
    assert (facts["width"], facts["height"], facts["thumbnail_bytes"]) == (42, 30, len(kept))
    assert facts["bits_per_pixel"] == pytest.approx(8 * len(kept) / (42 * 30))
    status, _, err = regrow("show", archive.url, "jpg/000é.jpg", "--to", to)
    assert (status, to.read_bytes()) == (1, kept)
    assert "is there already" in err


def test_show_of_a_failure_says_why(regrow, archive):
    status, out, _ = regrow("show", archive.url, "lost/[b].jpg")
    assert status == 0
    assert "vanished: no longer there" in out


def test_a_thumbnail_is_drawn_two_pixels_a_cell_and_fits():
    pixels = makers.photo(12, 8)
    page = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=40)
    page.print(draw(pixels, 40, 20))
    drawn = page.file.getvalue()
    red, green, blue = pixels[0, 0]
    under = pixels[1, 0]
    assert f"38;2;{red};{green};{blue};48;2;{under[0]};{under[1]};{under[2]}" in drawn
    assert drawn.count("\u2580") == 12 * 4
    narrow = draw(makers.photo(400, 100), 30, 20).plain.splitlines()
    assert {len(line) for line in narrow if line} == {30}
    assert len([line for line in narrow if line]) == 4


@pytest.fixture
def thumbnail(archive, tmp_path):
    opened = Archive.open(archive.url)
    path = tmp_path / "lone.webp"
    path.write_bytes(opened.thumbnail(opened.find("jpg/001é.jpg")))
    return path


@pytest.mark.parametrize(("name", "kind"), [("o.png", "PNG"), ("o.JPG", "JPEG"), ("o.tif", "TIFF"), ("o.webp", "WEBP")])
def test_a_thumbnail_that_left_its_archive_is_regrown(regrow, thumbnail, tmp_path, name, kind):
    status, out, err = regrow("reconstruct", thumbnail, tmp_path / name, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["codec"] == "bicubic-x4"
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.size) == (kind, (48, 33))


def test_a_lone_thumbnail_becomes_what_its_archive_makes_of_it(regrow, archive, thumbnail, tmp_path):
    regrow("reconstruct", thumbnail, tmp_path / "o.png")
    payload = Payload(thumbnail.read_bytes(), "image/webp", 48, 33)
    expected = codec_from("bicubic-x4").load(Runtime()).decode([payload])[0]
    assert (decode_thumbnail((tmp_path / "o.png").read_bytes()) == expected).all()


def test_into_a_folder_a_suffix_is_appended(regrow, thumbnail, tmp_path):
    (tmp_path / "out").mkdir()
    assert regrow("reconstruct", thumbnail, tmp_path / "out", "--format", "jpg")[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lone.webp.jpg"]


def test_a_picture_is_never_overwritten(regrow, thumbnail, tmp_path):
    (tmp_path / "o.png").write_bytes(b"mine")
    status, _, err = regrow("reconstruct", thumbnail, tmp_path / "o.png")
    assert (status, (tmp_path / "o.png").read_bytes()) == (1, b"mine")
    assert "never overwritten" in err


def test_a_thumbnail_resaved_with_loss_is_refused(regrow, thumbnail, tmp_path):
    with Image.open(thumbnail) as picture:
        picture.save(tmp_path / "lossy.webp", quality=50, xmp=picture.info["xmp"])
        picture.save(tmp_path / "bare.webp", lossless=True)
    for name, said in (("lossy.webp", "resaved with loss"), ("bare.webp", "carries no mark of regrow")):
        status, _, err = regrow("reconstruct", tmp_path / name, tmp_path / "o.png")
        assert (status, err.count("\n")) == (1, 1)
        assert said in err
    assert not (tmp_path / "o.png").exists()


def test_a_thumbnail_of_another_codec_names_what_is_needed(regrow, thumbnail, tmp_path):
    content = thumbnail.read_bytes()
    digest = Archive.open(str(thumbnail.parent / "a.regrow")).document.codec_digest.encode()
    thumbnail.write_bytes(content.replace(digest, b"0" * 64))
    _, _, err = regrow("reconstruct", thumbnail, tmp_path / "o.png")
    assert f"made with bicubic-x4 of digest {'0' * 12}, and this regrow's has {digest[:12].decode()}" in err
    assert "settings that this name does not say" in err
    assert "regrow it from its archive" in err


def test_help_says_what_a_lone_thumbnail_lacks_and_how_patterns_and_codecs_are_written(regrow):
    def help_of(command):
        return " ".join(regrow(command, "--help")[1].replace("\u2502", " ").split())

    assert "A lone thumbnail has neither transparency nor metadata: those are kept in its archive." in help_of(
        "reconstruct"
    )
    assert "[abc] one of these" in help_of("ls")
    assert "[[] a bracket" in help_of("ls")
    for spelling in known_spellings():
        assert spelling.split(" ")[0] in help_of("archive")
    for status in ("0 done", "1 failed", "2 wrong use", "130 and 143 stopped"):
        assert status in " ".join(regrow("--help")[1].split())


def test_info_says_that_older_generations_are_left_out(regrow, tmp_path, monkeypatch):
    monkeypatch.setattr(info, "_GENERATIONS", 2)
    location = make_archive(tmp_path / "a")
    for number in range(3):
        grow_archive(location, {f"{number}.jpg": makers.encode(makers.photo(seed=number), "JPEG")})
    _, out, _ = regrow("info", location.url)
    assert "not shown: 2 older generations" in out
    assert "generation 1 " not in out
    assert "generation 2 " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["o.gif"], "end its name with .png"),
        (["o.png", "--format", "jpg"], "--format jpg and the name o.png disagree"),
        (["o.png", "--quality", "3"], "quality is for jpg and webp, not for png"),
        (["o.jpg", "--quality", "0"], "from 1 to 100"),
        (["o.png", "a-key"], "KEYS chooses among the images of an archive"),
        (["o.png", "--where", "width > 1"], "--where chooses"),
        (["o.png", "--match", ""], "--match chooses"),
        (["o.png", "--address", "ray://head:10001"], "is one thumbnail, which needs no Ray: leave --address out"),
    ],
)
def test_what_does_not_suit_a_lone_thumbnail_is_wrong_use(regrow, thumbnail, arguments, said):
    status, _, err = regrow("reconstruct", thumbnail, *arguments)
    assert status == 2
    assert said in err


def test_keys_that_command_a_terminal_are_shown_not_obeyed(archive, tmp_path, monkeypatch, capsys):
    make_archive(tmp_path / "b", {"a\x1b[2J\nb.jpg": makers.encode(makers.photo(), "JPEG")})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cli.run(["ls", str(tmp_path / "b")])
    assert capsys.readouterr().out == "a\u241b[2J\u240ab.jpg\n"


def test_an_archive_on_s3_is_looked_at_alike(regrow, s3, tmp_path):
    location = make_archive(f"{s3}/a.regrow")
    assert regrow("ls", location.url)[1].splitlines() == sorted(small_images())
    assert regrow("show", location.url, "png/002.png", "--to", f"{s3}/t.webp")[0] == 0
    assert regrow("reconstruct", f"{s3}/t.webp", f"{s3}/o.png")[0] == 0
    assert json.loads(regrow("info", location.url, "--json")[1])["totals"]["num_good"] == 6
    status, _, err = regrow("info", f"{s3}/nothing")
    assert (status, err.count("\n")) == (1, 1)
