"""The page on regression: its two configurations run one after the other, and a corrected E/p lets fewer pions pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pidlab.config.load import load_config
from pidlab.evaluate.results import RegressionResults, Results
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.simulate import simulate

PAGE = (Path(__file__).parents[1] / "docs" / "regression.md").read_text(encoding="utf-8")
NOT_NEEDED = ["models.wide=null", "models.mlp=null", "models.linear=null"]


@pytest.mark.slow
def test_an_energy_that_is_corrected_first_lets_fewer_pions_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    simulate("shms", tmp_path / "data" / "shms.root", 40_000, 3)
    texts = dict(re.findall(r'^```yaml title="(\S+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
    assert [*texts] == ["response.yaml", "corrected.yaml"]
    found = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        loaded = load_config(tmp_path / name, NOT_NEEDED if name == "response.yaml" else ())
        assert loaded.config.output is not None
        found[name] = run(loaded, Path(loaded.config.output), Resources("cpu", 1), Watcher(), figures="none")
    response, corrected = found.values()
    assert isinstance(response, RegressionResults)
    assert isinstance(corrected, Results)
    assert response.models["bdt"].rms.high < 0.7 * response.models["constant"].rms.low
    (pair,) = corrected.comparisons
    (point,) = pair.working_points
    assert (pair.a, pair.b) == ("before", "after")
    assert point.delta_misid.high < 0
    assert pair.delta_auc.low > 0
