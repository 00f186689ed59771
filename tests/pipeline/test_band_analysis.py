"""Bands in a run: pulls of test are by bands that never saw the candidate, and results are stored and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.evaluate.results import json_value, read_results, write_results
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.pipeline.analysis import Analysis
from pidlab.progress import Watcher


def _analysis(folder: Path, **more: object) -> Analysis:
    rng = np.random.default_rng(1)
    n = 6000
    species, sector = rng.integers(0, 2, n), rng.integers(1, 4, n)
    p = rng.uniform(1, 5, n)
    dedx = 10 * sector + 2 * p + (0.5 + 0.1 * p) * rng.standard_normal(n) - 4 * species
    dedx[::40] = np.nan
    columns = {"species": species.astype(np.int32), "sector": sector.astype(np.int32), "p": p, "dedx": dedx}
    write_tree(folder / "events.root", columns)
    content = {
        "data": {"files": "events.root"},
        "classes": {"pion": "species == 0", "kaon": "species == 1"},
        "features": ["dedx", "p"],
        "models": {
            "band": {"type": "band", "variables": "dedx", "against": "p", "by": "sector", "sigma": 3},
            "fisher": {"type": "fisher"},
        },
        "evaluate": {"robustness": None, "importance": False},
        **more,
    }
    return analyse(check_config(content, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())


def test_pulls_are_by_the_band_that_never_saw_the_candidate(tmp_path: Path) -> None:
    done = _analysis(tmp_path, folds=2)
    [band] = done.results.models["band"].bands
    assert done.results.models["fisher"].bands == ()
    pulls = done.outputs["band"][:, 0]
    signal = done.scored.sample.y == 0
    expected = np.histogram(pulls[signal], band.pulls["pion"].edges)[0]
    np.testing.assert_array_equal(band.pulls["pion"].sumw[1:-1], expected)
    assert band.pulls["pion"].entries == np.isfinite(pulls[signal]).sum()
    assert [panel.group for panel in band.panels] == ["sector = 1", "sector = 2", "sector = 3"]
    assert list(band.lines) == ["sigma3", "eff90", "eff95", "eff99"]
    assert abs(band.width.value - 1) < 0.06
    bands = [fitted.estimator for fitted in done.models["band"].fitted]
    curve = band.panels[1].curve
    means = np.mean([each.mean(0, 2, curve.x) for each in bands], axis=0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(curve.mean, means)
    assert np.abs((curve.mean - (20 + 2 * curve.x)) / curve.mean_error).max() < 4


def test_results_of_bands_are_stored_and_read_back(tmp_path: Path) -> None:
    results = _analysis(tmp_path).results
    write_results(tmp_path / "results.json", results)
    again = read_results(tmp_path / "results.json")
    first, second = (r.models["band"].bands for r in (results, again))
    assert json_value(first, exact=True) == json_value(second, exact=True)
    assert first[0].panels[0].curve.mean.shape == (100,)
