"""The first minutes: simulate, inspect, init, run; and the mistakes on the way, each answered by a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import write_tree
from pidlab.cli import main

Answer = tuple[int, str, str]
Pidlab = Callable[..., Answer]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Pidlab:
    """`pidlab WORDS` in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return call


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "n", "options"), [("shms", 1500, ["--figures", "quick"]), ("workshop", 1200, [])])
def test_a_starter_configuration_runs_as_it_is(
    inside: Pidlab, tmp_path: Path, sample: str, n: int, options: list[str]
) -> None:
    code, out, _ = inside("simulate", sample, "-o", "my.root", "--events", n)
    assert (code, out) == (0, "wrote my.root\n")
    code, out, _ = inside("inspect", "my.root", "--ranges")
    assert code == 0
    assert f"{n:,} entries" in out
    code, out, _ = inside("init", "my.root")
    assert (code, out) == (0, "wrote analysis.yaml; look it over, then: pidlab run analysis.yaml\n")
    code, out, err = inside("run", "analysis.yaml", "--jobs", 1, *options)
    assert code == 0, err
    assert [word in out for word in ("cuts", "fisher", "bdt", "mlp")] == [True] * 4
    assert "report: runs/analysis/report.html" in out
    assert (tmp_path / "runs" / "analysis" / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_a_starter_for_candidates_says_what_to_edit_and_runs_then(inside: Pidlab, tmp_path: Path) -> None:
    assert inside("simulate", "nano", "-o", "my.root", "--events", 4000)[0] == 0
    assert inside("init", "my.root")[0] == 0
    code, _, err = inside("run", "analysis.yaml")
    assert code == 2
    assert re.search(r"^pidlab: analysis\.yaml:\d+:\d+: classes: name two classes or more", err), err
    assert err.count("\n") <= 2
    path = tmp_path / "analysis.yaml"
    text = path.read_text()
    assert "nElectron ==" not in text
    assert "  # per: Electron" in text
    text = text.replace("# per: Electron ", "per: Electron ").replace(
        "classes:\n", "classes:\n  prompt: Electron_genPartFlav == 1\n  other: Electron_genPartFlav != 1\n"
    )
    text = text.replace("features:", "features: [Electron_sieie, Electron_hoe]\n#", 1)
    text = re.sub(r"(?m)^  - .*\n", "", text)
    path.write_text(re.sub(r"(?s)models:.*", "models: {fisher: {type: fisher}}\n", text))
    code, out, err = inside("run", "analysis.yaml", "--jobs", 1, "--figures", "quick")
    assert code == 0, err
    assert "fisher" in out


CONFIG = """\
data:
  files: a.root
  tree: T
classes:
  electron: species == 0
  pion: species == 1
features: [energy, light]
models:
  fisher: {type: fisher}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    species = np.arange(400, dtype="i4") % 2
    write_tree(tmp_path / "a.root", {"energy": rng.normal(species), "light": rng.normal(size=400), "species": species})
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "code", "place", "fix"),
    [
        ("[energy", "[enrgy", 2, r"c\.yaml:7:12: features\[0\]: ", "Did you mean 'energy'"),
        ("a.root", "b.root", 1, r"b\.root: no such file", "did you mean 'a.root'"),
        ("a.root", "c.yaml", 1, r"c\.yaml: is not a ROOT file", ""),
        ("tree: T", "tree: events", 1, r"a\.root: no tree 'events'", "known: T"),
        ("species == 1", "species == 7", 1, "class 'pion' has no events before any cut", "(electron 200, pion 0)"),
        ("light]", "species]", 2, r"c\.yaml:7:20: features\[1\]: ", "the models would learn the label; leave it out"),
        ("features:", "featurs:", 2, r"c\.yaml:7:1: featurs: unknown key", "did you mean 'features'"),
        ("  tree: T", " tree: T", 2, r"c\.yaml:3:\d+: not valid YAML", "indent"),
        ("  pion:", "\tpion:", 2, r"c\.yaml:6:\d+: not valid YAML", "tab"),
        ("type: fisher", "type: fischer", 2, r"c\.yaml:9:\d+: models\.fisher", "'fisher'"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_by_a_sentence_with_place_and_fix(
    inside: Pidlab, table: Path, before: str, after: str, code: int, place: str, fix: str
) -> None:
    assert before in CONFIG
    (table / "c.yaml").write_text(CONFIG.replace(before, after))
    found, out, err = inside("run", "c.yaml")
    assert (found, out) == (code, "")
    said = err[err.index("pidlab: ") :]
    assert re.search(place, said), said
    assert fix in said, said
    assert "Traceback" not in err
    assert len(said.splitlines()) <= 5, said
    assert not any((table / "runs").glob("*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("inspect", "none.root"), 1, "none.root: no such file"),
        (("inspect", "c.yaml"), 1, "c.yaml: is not a ROOT file"),
        (("inspect", "a.root:U"), 1, "no tree 'U'; known: T"),
        (("init", "a.root", "-o", "c.yaml"), 1, "c.yaml: is there already; name another file with -o"),
        (("init", "a.root", "-o", "none/c.yaml"), 1, "none/c.yaml"),
        (("run", "none.yaml"), 2, "none.yaml: no such file; `pidlab init FILE` writes a configuration"),
        (("run", "a.root"), 2, "a.root: is a ROOT file, not a configuration; `pidlab init a.root` writes one"),
        (("run", "c.yaml", "-o", "a.root"), 1, "a.root: exists and is not the folder of a run"),
        (("run", "c.yaml", "-o", "/proc/none/run"), 1, "/proc/none/run: cannot be written"),
        (("simulate", "shms", "-o", "none/my.root"), 1, "none/my.root: cannot be written"),
        (("apply", "none", "a.root", "-o", "out"), 2, "none: is not the folder of a run"),
        (("apply", "a.root", "a.root", "-o", "out"), 2, "a.root: is not the folder of a run"),
        (("plot", "none", "roc"), 2, "none: is not the folder of a run"),
        (("export", "none", "--format", "header", "-o", "out"), 2, "none: is not the folder of a run"),
        (("reproduce", "none"), 2, "none: is not the folder of a run"),
        (("tune", "c.yaml", "--model", "fsher"), 2, "c.yaml has no such model; did you mean 'fisher'?"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_is_answered_by_a_sentence(
    inside: Pidlab, table: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (table / "c.yaml").write_text(CONFIG)
    before = sorted(table.iterdir())
    found, out, err = inside(*words)
    assert (found, out) == (code, ""), err
    assert said in err
    assert "Traceback" not in err
    assert len(err[err.index("pidlab: ") :].splitlines()) == 1, err
    assert sorted(table.iterdir()) == before
