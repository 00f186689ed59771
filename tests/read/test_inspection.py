"""Inspect and init: what will bite is named, and the starter configuration runs as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import Run, write_tree
from pidlab.config.load import load_config
from pidlab.config.starter import starter_configuration
from pidlab.read import Source, Table
from pidlab.read.inspection import find_codes, inspect
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
    [X, RNG.integers(0, 5, N).astype(float), np.maximum(X - 5, 0), RNG.exponential(size=N), np.append(X, 796.0)],
    ids=["normal", "integers", "zeros at the edge", "exponential", "one outlier"],
)
def test_what_belongs_to_the_rest_is_no_code(values: np.ndarray) -> None:
    assert find_codes(values) == ()


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
    answer = pidlab("run", "analysis.yaml", "-o", "out", *quick)
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
