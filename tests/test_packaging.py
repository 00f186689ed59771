"""The wheel holds all that the code opens, and runs from where it was unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from pidlab import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pidlab"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds of a copy of the sources."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(PACKAGE, place / "src" / "pidlab", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", str(place), "--no-deps", "--quiet", "-w", str(place / "dist")]
    done = subprocess.run(
        [*command, "--retries", "0", "--timeout", "10"], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode and any(each in done.stderr for each in ("hatchling", "No module named pip")):
        pytest.skip("pip cannot fetch hatchling, which builds the wheel, from here")
    assert done.returncode == 0, done.stderr
    return next((place / "dist").glob("*.whl"))


@pytest.mark.slow
def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    there = {p.relative_to(PACKAGE.parent).as_posix() for p in PACKAGE.rglob("*") if p.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == there
    data = {name for name in packed if not name.endswith(".py")}
    assert {Path(name).name for name in data} >= {
        "template.html.jinja", "jsroot.min.js.gz", "report.js", "report.css", "pieces.h", "parity_check.cpp", "py.typed"
    }  # fmt: skip


def test_the_unpacked_wheel_runs_on_its_own(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)

    def said(*words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert said("-c", "import pidlab; print(pidlab.__file__)").startswith(str(tmp_path))
    assert said("-m", "pidlab.cli", "--version") == f"pidlab, version {__version__}\n"
    entry = (next(tmp_path.glob("*.dist-info")) / "entry_points.txt").read_text()
    assert "pidlab = pidlab.cli:main" in entry


def test_the_version_is_the_same_wherever_it_is_said() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_no_file_is_opened_that_lies_outside_the_package() -> None:
    """A path that climbs out of the package would exist in a checkout only."""
    climbing = [
        p.name for p in PACKAGE.rglob("*.py") if ".parents[" in p.read_text() or ".parent.parent" in p.read_text()
    ]
    assert climbing == []
