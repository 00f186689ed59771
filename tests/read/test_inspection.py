"""Inspect and init: what will bite is named, and the starter configuration runs as it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import uproot

from conftest import Run, write_tree
from pidlab.cli.terminal import inspection
from pidlab.config.load import load_config
from pidlab.config.starter import starter_configuration
from pidlab.read import Source, Table
from pidlab.read.inspection import BranchSummary, TableSummary, find_codes, inspect
from pidlab.simulate import simulate

RNG = np.random.default_rng(8)
N = 5000
X = RNG.normal(5, 1, N)


def with_code(code: float, share: float) -> np.ndarray:
    return np.where(RNG.random(N) < share, code, X)


@pytest.mark.parametrize(("code", "share"), [(-999, 0.03), (-999, 0.7), (-1, 0.05), (9999, 0.01), (1e30, 0.01)])
def test_codes_for_missing_are_found_with_their_share(code: float, share: float) -> None:
    ((found, found_share),) = find_codes(with_code(code, share))
    assert found == code
    assert found_share == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    "values",
    [
        X, RNG.integers(0, 5, N).astype(float), np.maximum(X - 5, 0), RNG.exponential(size=N), np.append(X, 796.0),
        np.append(X, [796.0, 796.0]), RNG.choice([0.0, 1.1, 2.2], N),
    ],
    ids=["normal", "integers", "zeros at the edge", "exponential", "one outlier", "one twice", "a b-tag"],
)  # fmt: skip
def test_what_belongs_to_the_rest_is_no_code(values: np.ndarray) -> None:
    assert find_codes(values) == ()


def test_a_usual_code_is_found_in_two_entries_of_thousands() -> None:
    assert find_codes(np.append(X, [-999.0, -999.0])) == ((-999.0, 2 / (N + 2)),)


def remarks(folder: Path, **columns: np.ndarray) -> dict[str, str]:
    path = write_tree(folder / "x.root", {k: np.asarray(v) for k, v in columns.items()})
    with Table(Source(str(path), "T")) as table:
        return {b.name: "; ".join(b.remarks) for b in inspect(table).branches}


def test_what_will_bite_is_named(tmp_path: Path) -> None:
    found = remarks(
        tmp_path,
        plain=X,
        code=with_code(-999, 0.1),
        wild=np.where(np.arange(N) == 7, 796.0, X),
        constant=np.full(N, 3.0),
        holes=np.where(np.arange(N) % 4 == 0, np.nan, X),
        nothing=np.full(N, np.nan),
    )
    assert found["plain"] == ""
    assert "-999 in" in found["code"]
    assert found["wild"] == "1 wild outliers, up to 796"
    assert found["constant"] == "is 3 everywhere"
    assert found["holes"] == "NaN in 25.00%"
    assert found["nothing"] == "has no finite value"


def test_exact_duplicates_are_counted(tmp_path: Path) -> None:
    rows = {"a": np.append(X, X[:100]), "b": np.append(X, X[:100]) ** 2}
    with Table(Source(str(write_tree(tmp_path / "d.root", rows)), "T")) as table:
        assert inspect(table).n_duplicates == 100


def test_the_starter_configuration_runs_as_it_is(tmp_path: Path, pidlab: Run) -> None:
    simulate("shms", tmp_path / "shms.root", 4000, 2)
    assert pidlab("init", "shms.root").returncode == 0
    config = load_config(tmp_path / "analysis.yaml").config
    assert config.data.event_id == ["run", "event"]
    assert config.data.weight == "w"
    assert set(config.classes) == {"species_0", "species_1"}
    assert {f.name: f.missing for f in config.feature_list}["P.hgcer.npeSum"] == [-999]
    assert not {"species", "w", "run", "event"} & {f.name for f in config.feature_list}
    quick = ["--set", "models.mlp.epochs=2", "--set", "models.bdt.n_estimators=10", "--set", "evaluate.robustness=null"]
    answer = pidlab("run", "analysis.yaml", "-o", "out", "--figures", "none", *quick)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_a_label_the_classes_are_left_to_be_named(tmp_path: Path) -> None:
    with Table(Source(str(write_tree(tmp_path / "x.root", {"a": X, "odd name": X})), "T")) as table:
        text = starter_configuration("x.root", "T", inspect(table))
    assert "Name the classes" in text
    assert "`odd name`" in text


def test_init_does_not_overwrite(tmp_path: Path, pidlab: Run) -> None:
    write_tree(tmp_path / "x.root", {"a": X})
    (tmp_path / "analysis.yaml").write_text("mine")
    answer = pidlab("init", "x.root")
    assert answer.returncode == 1
    assert "is there already" in answer.stderr
    assert (tmp_path / "analysis.yaml").read_text() == "mine"


def test_inspect_shows_types_and_ranges(tmp_path: Path, pidlab: Run) -> None:
    simulate("nano", tmp_path / "nano.root", 500, 2)
    answer = pidlab("inspect", "nano.root", "--ranges")
    assert answer.returncode == 0, answer.stderr
    assert "500 entries" in answer.stdout
    assert "float[]" in answer.stdout
    assert "no such file" in pidlab("inspect", "nono.root").stderr


def test_a_branch_that_cannot_be_read_hides_none_of_the_others(tmp_path: Path, pidlab: Run) -> None:
    path, n = tmp_path / "bad.root", 1000
    values = {name: np.random.default_rng(i).normal(size=n) for i, name in enumerate("abc")}
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree("T", dict.fromkeys(values, "f8")).extend(values)
    with uproot.open({path: "T"}) as tree:
        seek, size = (int(tree["b"].member(name)[0]) for name in ("fBasketSeek", "fBasketBytes"))
    content = bytearray(path.read_bytes())
    content[seek + 90 : seek + size] = bytes(size - 90)
    path.write_bytes(content)
    answer = pidlab("inspect", "bad.root", "--ranges")
    assert answer.returncode == 1
    for name, own in values.items():
        assert re.search(rf"{name} .*float .*{'cannot be read' if name == 'b' else f'{own.min():.3f}'}", answer.stdout)
    assert re.search(r"bad.root:T: branch 'b', entries 0 to 999 cannot be read", answer.stderr)


def test_inspect_takes_patterns_and_names_the_nearest_branch(tmp_path: Path, pidlab: Run) -> None:
    columns = {name: np.arange(9.0) for name in ("P.cal.etot", "P.cal.epr", "P.gtr.p", "E/p")}
    write_tree(tmp_path / "a.root", columns)
    shown = pidlab("inspect", "a.root", "P.cal.*", "E/?").stdout.splitlines()
    assert shown[0].endswith("9 entries, 4 branches, 3 of them listed")
    assert [line.split()[0] for line in shown[2:]] == ["P.cal.etot", "P.cal.epr", "E/p"]
    wrong = pidlab("inspect", "a.root", "P.gtrp*")
    assert wrong.returncode == 1
    assert "a.root: no branch matches 'P.gtrp*'; did you mean 'P.gtr.p'" in wrong.stderr


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_narrow_terminal_shortens_names_and_wraps_remarks_and_no_digit_is_lost(width: int) -> None:
    names = [f"P.calorimeter.some_{'very_' * 12}long_name_{i}" for i in range(3)]
    summary = TableSummary(
        "a.root:T",
        10,
        10,
        tuple(
            BranchSummary(
                name, "float", 9, 0, -0.0002741, 3.038e4, (-1.234e-05, 0.01758, 3.145e3), remarks=("much to say, " * 9,)
            )
            for name in names
        ),
        0,
        3,
    )
    lines = "\n".join(inspection(summary, True, width)).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("-0.0002741" in line and "3.038e+04" in line and "0.01758" in line for line in lines) == 3
    rows = [line.split()[0] for line in lines if "-0.0002741" in line]
    assert [row[-4:] for row in rows] == [f"me_{i}"[-4:] for i in range(3)]
    assert all("…" in row and row.startswith("P.cal") for row in rows)
    assert all(name in "\n".join(inspection(summary, True)) for name in names)


def test_integers_are_shown_with_all_their_digits() -> None:
    run = BranchSummary("run", "int", 2, 0, 16777216.0, 16777219.0, (16777216.0, 16777217.0, 16777219.0))
    shown = "\n".join(inspection(TableSummary("a.root:T", 2, 2, (run,), 0, 1), True, 80))
    assert [word for word in shown.split() if word.startswith("1677")] == [
        "16777216", "16777216", "16777217", "16777219", "16777219",
    ]  # fmt: skip


def particles(n: int, mean: float, label: object) -> dict[str, np.ndarray]:
    """Branches as they stand in files of experiments: two that may be features, and what must not be one."""
    rng = np.random.default_rng(int(10 * mean))
    flag = rng.integers(0, 2, n)
    whole = {"lumi": flag + 7, "mcPDG": 11 + 200 * flag, "jet_idx": flag + 2, "isTight": flag, "HLT_mu24": flag}
    real = {name: rng.normal(size=n) for name in ("trueE", "gen_pt", "track_MC_p", "general")}
    return {
        "p": rng.uniform(1, 5, n), "dEdx": rng.normal(mean, 1, n), "label": np.broadcast_to(label, n).astype("i4"),
        "eventNumber": np.arange(n), "good": flag.astype(bool), **real,
        **{name: values.astype("i4") for name, values in whole.items()},
    }  # fmt: skip


def written(path: Path) -> tuple[list[str], dict[str, object]]:
    """The features and classes of a configuration; the examples in its comments are made part of it and checked."""
    text = path.read_text().replace("# selection:", "selection:").replace("#   acceptance", "  acceptance")
    path.write_text(text.replace("# spectators", "spectators").replace("  # hand", "  hand"))
    config = load_config(path).config
    return [f.name for f in config.feature_list], dict(config.classes)


QUICK = (
    "--set",
    "models={fisher: {type: fisher}, cut: {type: expression, cut: dEdx > 1}}",
    "--set",
    "evaluate.robustness=null",
)


def test_label_1_is_the_signal_and_what_tells_it_is_no_feature(tmp_path: Path, pidlab: Run) -> None:
    write_tree(tmp_path / "a.root", particles(2000, 1, np.arange(2000) % 3 == 0))
    assert pidlab("init", "a.root").returncode == 0
    features, classes = written(tmp_path / "analysis.yaml")
    assert features == ["p", "dEdx", "general"]
    assert classes == {"label_1": "label == 1", "label_0": "label == 0"}
    text = (tmp_path / "analysis.yaml").read_text()
    for line in (
        "trueE (generator truth", "gen_pt (generator truth", "track_MC_p (generator truth", "mcPDG (generator truth",
        "lumi (an identifier", "jet_idx (an identifier", "HLT_mu24 (a trigger flag", "isTight (a flag", "good (a flag",
    ):  # fmt: skip
        assert f"# left out: {line}" in text
    ran = pidlab("run", "analysis.yaml", "--figures", "none", *QUICK)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("named", ["relative", "absolute"])
def test_a_relative_file_stays_relative_to_the_configuration(tmp_path: Path, pidlab: Run, named: str) -> None:
    """So a folder with data and configuration can be moved; a file named absolutely is where it is."""
    (tmp_path / "data").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write_tree(tmp_path / "data" / "s.root", particles(300, 1, 1))
    file = str(tmp_path / "data" / "s.root") if named == "absolute" else "data/s.root"
    assert pidlab("init", file, "-o", "deep/er/a.yaml").returncode == 0
    expected = file if named == "absolute" else "../../data/s.root"
    assert f'  files: "{expected}"' in (tmp_path / "deep" / "er" / "a.yaml").read_text().splitlines()


def test_init_takes_a_file_for_each_class(tmp_path: Path, pidlab: Run) -> None:
    write_tree(tmp_path / "electrons.root", particles(900, 1, 1) | {"only": np.zeros(900)})
    write_tree(tmp_path / "2-pions.root", particles(900, 0, 0), tree="Other")
    assert pidlab("init", "electrons.root", "2-pions.root", "-o", "two.yaml").returncode == 0
    features, classes = written(tmp_path / "two.yaml")
    assert features == ["p", "dEdx", "general"]
    assert list(classes) == ["electrons", "class_2_pions"]
    text = (tmp_path / "two.yaml").read_text()
    assert "# left out: label (constant in each file: it would tell the class)" in text
    assert "# left out: only (is not in 2-pions.root)" in text
    ran = pidlab("run", "two.yaml", "--figures", "none", *QUICK)
    assert ran.returncode == 0, ran.stderr
    named = pidlab("init", "electrons.root", "electrons.root", "-o", "x.yaml").stderr
    assert "named twice" in named


def test_init_takes_two_trees_of_one_file_without_keys_or_weights(tmp_path: Path, pidlab: Run) -> None:
    """The names of the classes are those of the trees, and the configuration runs although `data` says nothing."""
    branches = {"x": RNG.normal(size=600), "y": RNG.normal(size=600)}
    with uproot.recreate(tmp_path / "both.root") as file:
        for tree, shift in (("sig_tree", 1.0), ("bkg_tree", 0.0)):
            file.mktree(tree, dict.fromkeys(branches, np.float64))
            file[tree].extend({name: values + shift for name, values in branches.items()})
    assert pidlab("init", "both.root:sig_tree", "both.root:bkg_tree").returncode == 0
    text = (tmp_path / "analysis.yaml").read_text()
    assert "tree sig_tree (600 entries)" in text
    assert list(load_config(tmp_path / "analysis.yaml").config.classes) == ["sig_tree", "bkg_tree"]
    refused = pidlab("init", "both.root", "-o", "x.yaml").stderr
    assert "name one, as FILE:TREE, or several, each of one class" in " ".join(refused.split())


@pytest.mark.parametrize(
    ("names", "keys"),
    [(("runNo", "evtNo"), ["runNo", "evtNo"]), (("run", "evt_id"), ["run", "evt_id"]), (("runNo", "n_hits"), [])],
)
def test_a_starter_names_an_event_by_run_and_number_and_never_by_the_run_alone(
    tmp_path: Path, pidlab: Run, names: tuple[str, str], keys: list[str]
) -> None:
    """A run alone would put all its events on one side of the split, and `pidlab run` refused it."""
    run, number = names
    for label, name in ((1, "A"), (0, "B")):
        columns = {"x": RNG.normal(label, 1, 60), run: np.full(60, 42), number: np.arange(60)}
        write_tree(tmp_path / f"{name}.root", columns)
    made = pidlab("init", "A.root", "B.root", "-o", "out.yaml")
    assert made.returncode == 0, made.stderr
    config = load_config(tmp_path / "out.yaml").config
    assert config.data.event_id == keys
    assert [feature.name for feature in config.feature_list] == (["x"] if keys else ["x", "n_hits"])


def test_words_that_can_name_a_class_do(tmp_path: Path, pidlab: Run) -> None:
    rows = "".join(f"{i}.5,{('electron', 'pi+')[i % 2]}\n" for i in range(40))
    (tmp_path / "a.csv").write_text("x,particle\n" + rows)
    assert pidlab("init", "a.csv").returncode == 0
    assert dict(load_config(tmp_path / "analysis.yaml").config.classes) == {
        "electron": "particle == 'electron'",
        "particle_pi_": "particle == 'pi+'",
    }
