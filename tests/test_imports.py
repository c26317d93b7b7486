"""`import regrow` is light, and another distribution's `ops` is found out before anything breaks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment, cwd="/"
    )


def test_importing_regrow_loads_neither_torch_nor_ray_nor_pandas():
    heavy = "{'torch', 'ray', 'pandas', 'diffusers', 'peft', 'scipy', 's3fs', 'typer'}"
    done = python(f"import regrow, sys; print(sorted({heavy} & set(sys.modules)))", ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_opening_and_regrowing_needs_no_ray(tmp_path):
    code = (
        "import sys; from tests.archives import make_archive; import regrow as rg\n"
        f"a = rg.open(make_archive({str(tmp_path / 'a')!r}).url); a._repr_html_(); a['png/002.png'].reconstruct()\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)), flush=True)\n"
        # pyarrow's threads abort one in some twenty processes that end just after they began
        "import os; os._exit(0)"
    )
    done = python(code, ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("kind", ["package", "module", "folder"])
def test_a_foreign_ops_is_refused_in_one_line_with_its_path_and_the_remedy(tmp_path, kind):
    place = {
        "package": tmp_path / "ops" / "__init__.py",
        "module": tmp_path / "ops.py",
        "folder": tmp_path / "ops" / "x",
    }
    place[kind].parent.mkdir(exist_ok=True)
    place[kind].write_text("")
    (tmp_path / "regrow.py").write_text((ROOT / "regrow.py").read_text())
    done = python("import regrow", tmp_path) if kind == "folder" else python("import regrow", tmp_path, ROOT)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert said.startswith(f"ImportError: {tmp_path / 'ops'}")
    assert "pip uninstall ops" in said


def test_import_writes_nothing_and_says_nothing(tmp_path):
    done = python(f"import os; os.chdir({str(tmp_path)!r}); import regrow", ROOT)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])
