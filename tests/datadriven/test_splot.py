"""sWeights of every shape are those of RooStats::SPlot for the same model, which RooFit fits on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from masses import HIGH, LOW

from pidlab.datadriven.massfit import Component, fit
from pidlab.datadriven.massfit.shapes import SHAPES, shape_of
from pidlab.datadriven.sweights.weights import sweights
from real_root import ask_root, needs_root

N_SIGNAL, N_BACKGROUND = 1500, 2500
# Of each shape the parameters that masses are drawn from, and the same density in RooFit, which begins at these values
# and may move to both sides. `argus` has its endpoint at the end of the range, as ours has.
SIGNALS = {
    "gauss": ([5.28, 0.02], "Gaussian::{name}(m, mean[5.28, 5.1, 5.5], sigma[0.02, 0.001, 0.2])"),
    "double_gauss": (
        [5.28, 0.012, 3.0, 0.6],
        "SUM::{name}(fraction[0.6, 0.05, 0.95] * Gaussian::core(m, mean[5.28, 5.1, 5.5], sigma[0.012, 0.001, 0.2]), "
        "Gaussian::tail(m, mean, prod::wide(sigma, ratio[3, 1.05, 10])))",
    ),
    "bifurcated_gauss": (
        [5.28, 0.03, 0.015],
        "BifurGauss::{name}(m, mean[5.28, 5.1, 5.5], sigma_low[0.03, 0.001, 0.2], sigma_high[0.015, 0.001, 0.2])",
    ),
    "crystal_ball": (
        [5.28, 0.02, 1.2, 3.0],
        "CBShape::{name}(m, mean[5.28, 5.1, 5.5], sigma[0.02, 0.001, 0.2], alpha[1.2, 0.1, 6], n[3, 1.05, 100])",
    ),
    "double_crystal_ball": (
        [5.28, 0.01, 1.2, 3.0, 1.5, 4.0],  # a wider peak has tails that look like the background
        "RooCrystalBall::{name}(m, mean[5.28, 5.1, 5.5], sigma[0.01, 0.001, 0.2], alpha_low[1.2, 0.1, 6], "
        "n_low[3, 1.05, 100], alpha_high[1.5, 0.1, 6], n_high[4, 1.05, 100])",
    ),
    "student": (
        [5.28, 0.015, 3.0],
        "EXPR::{name}('pow(1 + (m - mean) * (m - mean) / (sigma * sigma * nu), -(nu + 1) / 2)', m, "
        "mean[5.28, 5.1, 5.5], sigma[0.015, 0.001, 0.2], nu[3, 1, 200])",
    ),
    "voigt": (
        [5.28, 0.012, 0.02],
        "Voigtian::{name}(m, mean[5.28, 5.1, 5.5], gamma[0.02, 0.001, 0.2], sigma[0.012, 0.001, 0.2])",
    ),
}
BACKGROUNDS = {
    "exponential": ([-3.0], "Exponential::{name}(m, slope[-3, -125, 125])"),
    "chebyshev:1": ([-0.4], "Chebychev::{name}(m, {{c1[-0.4, -2, 2]}})"),
    "chebyshev:3": ([-0.4, 0.1, 0.05], "Chebychev::{name}(m, {{c1[-0.4, -2, 2], c2[0.1, -2, 2], c3[0.05, -2, 2]}})"),
    "argus": ([3.0, HIGH], f"ArgusBG::{{name}}(m, {HIGH}, expr::power('-chi * chi / 2', chi[3, 0.01, 20]))"),
    "cms_shape": (
        [5.2, 20.0, 6.0],
        "EXPR::{name}('TMath::Erfc(-steepness * (m - turn_on)) * exp(-decay * (m - turn_on))', m, "
        "turn_on[5.2, 4.7, 5.5], steepness[20, 0.5, 500], decay[6, 0.025, 125])",
    ),
    "uniform": ([], "Uniform::{name}(m)"),
}
PAIRS = [(signal, "exponential") for signal in SIGNALS] + [("gauss", each) for each in BACKGROUNDS if each[0] != "e"]


def drawn(name: str, parameters: list[float], n: int, rng: np.random.Generator) -> np.ndarray:
    """Masses (n,) of a shape, by the inverse of its cumulative distribution."""
    x = np.linspace(LOW, HIGH, 20_001)
    return np.interp(rng.random(n), shape_of(name).cdf(x, parameters, LOW, HIGH), x)


def masses(signal: str, background: str) -> np.ndarray:
    rng = np.random.default_rng(17)
    return np.concatenate(
        [
            drawn(signal, SIGNALS[signal][0], N_SIGNAL, rng),
            drawn(background, BACKGROUNDS[background][0], N_BACKGROUND, rng),
        ]
    )


@pytest.fixture(scope="module")
def of_root() -> dict[str, Any]:
    """The yields and weights by RooFit and SPlot for each pair of shapes, from one process."""
    asked = {
        f"{signal}, {background}": {
            "mass": masses(signal, background).tolist(),
            "signal": SIGNALS[signal][1].format(name="signal"),
            "background": BACKGROUNDS[background][1].format(name="background"),
        }
        for signal, background in PAIRS
    }
    answer: dict[str, Any] = ask_root(
        """
ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.FATAL)
low, high = given["range"]
answer = {}
for name, each in given["asked"].items():
    w = ROOT.RooWorkspace("w")
    m = w.factory(f"m[{low}, {high}]")
    w.factory(each["signal"])
    w.factory(each["background"])
    n = len(each["mass"])
    w.factory(f"SUM::model(n_signal[{n / 3}, 0, {2 * n}] * signal, n_background[{2 * n / 3}, 0, {2 * n}] * background)")
    model, yields = w.pdf("model"), [w.var("n_signal"), w.var("n_background")]
    data = ROOT.RooDataSet.from_numpy({"m": np.array(each["mass"])}, [m])
    likelihood = model.createNLL(data, Extended=True)
    minimiser = ROOT.RooMinimizer(likelihood)
    minimiser.setPrintLevel(-1)
    minimiser.setStrategy(2)
    minimiser.setEps(0.01)
    for _ in range(2):  # nearer to the minimum than usual, since flat tails move weights by 1e-3
        minimiser.minimize("Minuit2", "migrad")
        minimiser.hesse()
    for parameter in model.getParameters(data):
        if parameter not in yields:
            parameter.setConstant(True)
    splot = ROOT.RooStats.SPlot("splot", "", data, model, ROOT.RooArgList(*yields))
    names = [each.GetName() for each in yields]
    answer[name] = {
        "weights": [[splot.GetSWeight(i, each) for each in names] for i in range(data.numEntries())],
        "yields": [each.getVal() for each in yields],
    }
""",
        asked=asked,
        range=[LOW, HIGH],
    )
    return answer


def test_every_shape_is_compared() -> None:
    assert SIGNALS.keys() == {name for name, shape in SHAPES.items() if shape.peaks}
    assert {each.partition(":")[0] for each in BACKGROUNDS} == {n for n, shape in SHAPES.items() if not shape.peaks}


@needs_root
@pytest.mark.parametrize(("signal", "background"), PAIRS, ids=[", ".join(pair) for pair in PAIRS])
def test_weights_are_those_of_roostats_splot(of_root: dict[str, Any], signal: str, background: str) -> None:
    """The weights of every candidate agree to 1e-3."""
    mass = masses(signal, background)
    found = fit(mass, LOW, HIGH, {"signal": Component(signal), "background": Component(background)})
    assert found.valid
    answer = of_root[f"{signal}, {background}"]
    ours, theirs = sweights(found, mass)(mass), np.array(answer["weights"])
    assert found.yield_of("signal").value == pytest.approx(answer["yields"][0], rel=1e-3)
    np.testing.assert_allclose(ours["signal"], theirs[:, 0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(ours["background"], theirs[:, 1], rtol=0, atol=1e-3)
