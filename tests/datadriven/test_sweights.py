"""sWeights unfold the signal: sums are yields, and projections are the truth's."""

from __future__ import annotations

import numpy as np
import pytest
from masses import COMPONENTS, HIGH, LOW, MEAN, toy

from pidlab.datadriven.massfit import Component, Fit, fit
from pidlab.datadriven.massfit.fit import histogram_of
from pidlab.datadriven.sweights.independence import (
    SIGNAL_IN_SIDEBAND,
    balanced_window,
    independence_tests,
    sentences,
    sidebands,
)
from pidlab.datadriven.sweights.replicas import weight_replicas, weight_sum
from pidlab.datadriven.sweights.weights import WeightSums, cows, sweights
from pidlab.errors import DataError, UsageError

TOY = toy(3000, 9000, 21)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit(TOY.mass, LOW, HIGH, COMPONENTS)


def test_weights_add_up_to_the_fitted_yields(fitted: Fit) -> None:
    weights = sweights(fitted, TOY.mass)
    for name, own in weights(TOY.mass).items():
        assert own.sum() == pytest.approx(weights.yields[name], rel=1e-10)
        # The weights' yields are those of the exact maximum, from which Minuit stops within a thousandth of the error.
        error = fitted.parameters[f"{name}.yield"].error
        assert own.sum() == pytest.approx(fitted.yield_of(name).value, abs=2e-3 * error)


def test_weights_of_all_components_add_up_to_one_for_every_candidate(fitted: Fit) -> None:
    total = np.sum([*sweights(fitted, TOY.mass)(TOY.mass).values()], axis=0)
    np.testing.assert_allclose(total, 1.0, rtol=1e-9, atol=0)


def test_weights_are_those_of_the_covariance_of_the_yields(fitted: Fit) -> None:
    """The formula of Pivk and Le Diberder, with the covariance that Minuit finds when only yields are free."""
    shapes = {
        name: Component(fitted.shapes[name], dict(zip(names, fitted.values_of(name), strict=True)))
        for name, names in (("signal", ("mean", "sigma")), ("background", ("slope",)))
    }
    only_yields = fit(TOY.mass, LOW, HIGH, shapes, minos=False)
    density = np.array([fitted.pdf(name, TOY.mass) for name in COMPONENTS])
    n = np.array([only_yields.yield_of(name).value for name in COMPONENTS])
    known = only_yields.covariance @ density / (n @ density)
    found = sweights(fitted, TOY.mass)(TOY.mass)
    np.testing.assert_allclose(found["signal"], known[0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found["background"], known[1], rtol=0, atol=1e-3)


def test_a_weighted_histogram_shows_the_signal_alone(fitted: Fit) -> None:
    weight = sweights(fitted, TOY.mass)(TOY.mass)["signal"]
    edges = np.linspace(-1, 3, 17)
    found, errors2 = (np.histogram(TOY.control, edges, weights=w)[0] for w in (weight, weight**2))
    true = np.histogram(TOY.control[TOY.is_signal], edges)[0]
    used = errors2 > 0
    # The true candidates are in the sum of weights too, so that chi2 is a little smaller than the number of bins.
    chi2 = ((found - true)[used] ** 2 / errors2[used]).sum()
    assert chi2 < used.sum() + 4 * np.sqrt(2 * used.sum())
    everything = np.histogram(TOY.control, edges)[0]
    assert ((everything * found.sum() / everything.sum() - true)[used] ** 2 / errors2[used]).sum() > 20 * used.sum()


def test_weights_over_fine_bins_are_those_of_single_masses(fitted: Fit) -> None:
    one, other = sweights(fitted, TOY.mass), sweights(fitted, histogram_of(TOY.mass, LOW, HIGH))
    for name, own in one(TOY.mass).items():
        np.testing.assert_allclose(other(TOY.mass)[name], own, rtol=0, atol=1e-4)


def test_many_candidates_are_weighted_to_their_yields_too() -> None:
    mass = toy(20_000, 50_000, 4).mass
    histogram = histogram_of(mass, LOW, HIGH)
    found = fit(histogram, LOW, HIGH, COMPONENTS, minos=False)
    weights = sweights(found, histogram)
    for name, own in weights(mass).items():
        assert own.sum() == pytest.approx(weights.yields[name], rel=1e-4)


def test_outside_the_range_and_without_a_mass_the_weight_is_zero_and_negative_weights_stay(fitted: Fit) -> None:
    weights = sweights(fitted, TOY.mass)
    found = weights([LOW - 1e-6, HIGH + 1e-6, np.nan, np.inf, LOW, MEAN])["signal"]
    assert found[:4].tolist() == [0, 0, 0, 0]
    assert found[4] < -0.1
    assert found[5] > 1


def test_three_components_each_have_their_weights() -> None:
    rng = np.random.default_rng(8)
    mass = np.concatenate([rng.normal(5.2, 0.02, 3000), rng.normal(5.35, 0.02, 2000), rng.uniform(LOW, HIGH, 6000)])
    components = {
        "signal": Component("gauss", {"mean": 5.2, "sigma": 0.02}),
        "other": Component("gauss", {"mean": 5.35, "sigma": 0.02}),
        "background": Component("uniform"),
    }
    found = fit(mass, LOW, HIGH, components)
    weights = sweights(found, mass)(mass)
    for name, part in (("signal", slice(0, 3000)), ("other", slice(3000, 5000)), ("background", slice(5000, None))):
        own = weights[name][part].sum()
        assert own == pytest.approx(weights[name].sum(), abs=4 * np.sqrt((weights[name] ** 2).sum()))


def test_a_yield_that_is_fixed_has_no_sweights() -> None:
    found = fit(TOY.mass, LOW, HIGH, {**COMPONENTS, "background": Component("exponential", {"yield": 9000})})
    with pytest.raises(UsageError, match=r"background\.yield: sWeights need yields that are free"):
        sweights(found, TOY.mass)


def test_two_components_of_one_shape_have_no_weights() -> None:
    same = {"mean": 5.28, "sigma": 0.02}
    components = {"a": Component("gauss", same), "b": Component("gauss", same)}
    found = fit(TOY.mass[TOY.is_signal], LOW, HIGH, components, minos=False)
    with pytest.raises(DataError, match="do not tell two components apart"):
        sweights(found, TOY.mass[TOY.is_signal])


def test_masses_of_one_value_have_no_weights() -> None:
    mass = np.full(200, 5.2)
    found = fit(mass, LOW, HIGH, COMPONENTS, minos=False)
    with pytest.raises(DataError, match="do not tell two components apart"):
        sweights(found, mass)


@pytest.mark.slow
def test_cows_remove_a_background_that_changes_with_the_feature_where_sweights_cannot() -> None:
    # The mean of the control variable in the signal is 1; in the background it rises with the mass.
    biases: dict[str, list[float]] = {"sweights": [], "cows": []}
    variance = 0.0
    for seed in range(3):
        data = toy(4000, 12_000, seed, in_background=0.4)
        found = fit(data.mass, LOW, HIGH, COMPONENTS, minos=False)
        inside = (data.mass >= LOW) & (data.mass <= HIGH)
        for name, weights in (("sweights", sweights(found, data.mass)), ("cows", cows(found, data.mass, 3))):
            w = weights(data.mass)["signal"]
            mean = (w * data.control).sum() / w.sum()
            biases[name].append(mean - data.control[data.is_signal & inside].mean())
        variance += (w**2 * (data.control - mean) ** 2).sum() / w.sum() ** 2  # of the mean by COWs
    assert abs(np.mean(biases["cows"])) < 3 * np.sqrt(variance) / 3 < 0.06
    assert abs(np.mean(biases["sweights"])) > 0.15  # so much that it is no fluctuation


@pytest.mark.slow
def test_cows_of_a_background_that_factorises_agree_with_the_fit() -> None:
    found = fit(TOY.mass, LOW, HIGH, COMPONENTS)
    weights = cows(found, TOY.mass, 2)
    own = weights(TOY.mass)["signal"]
    assert own.sum() == pytest.approx(weights.yields["signal"], rel=1e-9)
    assert own.sum() == pytest.approx(found.yield_of("signal").value, abs=3 * np.sqrt((own**2).sum()))
    binned = cows(found, histogram_of(TOY.mass, LOW, HIGH), 2)
    np.testing.assert_allclose(binned(TOY.mass)["signal"], own, rtol=0, atol=1e-6)


def test_cows_refuse_bins_without_candidates() -> None:
    mass = TOY.mass[(TOY.mass < 5.4) | (TOY.mass > 5.45)]
    with pytest.raises(DataError, match="bins of the mass hold no candidates"):
        cows(fit(mass, LOW, HIGH, COMPONENTS, minos=False), mass, 2)


def test_sums_of_weights_are_added_chunk_by_chunk() -> None:
    sums, own = WeightSums(), np.array([1.0, -0.5, 2.0])
    sums.add(own[:1])
    sums.add(own[1:])
    sums.add(own[:0])
    assert (sums.n, sums.total, sums.squares, sums.smallest, sums.largest, sums.n_negative) == (
        3,
        2.5,
        5.25,
        -0.5,
        2,
        1,
    )
    assert sums.n_effective == pytest.approx(2.5**2 / 5.25)


def test_sidebands_hold_little_signal_and_the_window_balances_pairs(fitted: Fit) -> None:
    for low, high in sidebands(fitted):
        edges = np.linspace(low, high, 50)
        share = fitted.expected(edges, "signal") / fitted.expected(edges)
        assert share.max() <= SIGNAL_IN_SIDEBAND * 1.2
    assert len(sidebands(fitted)) == 2
    window = balanced_window(fitted)
    assert window is not None
    assert window[0] < MEAN < window[1]
    rng = np.random.default_rng(1)
    signal = rng.normal(fitted.parameters["signal.mean"].value, fitted.parameters["signal.sigma"].value, 200_000)
    grid = np.linspace(*window, 2001)
    cdf = fitted.cdf("background", grid)
    background = np.interp(rng.uniform(cdf[0], cdf[-1], 200_000), cdf, grid)
    inside = (signal > window[0]) & (signal < window[1])
    # 180,000 pairs know the probability to 0.0012; the window's ends are on a grid of a tenth of the width.
    assert (background[inside] > signal[inside]).mean() == pytest.approx(0.5, abs=0.006)


def test_independent_features_pass_and_dependent_ones_are_named() -> None:
    n_false, p = 0, []
    for seed in range(40):
        data = toy(1000, 3000, seed)
        found = fit(data.mass, LOW, HIGH, COMPONENTS, minos=False)
        tests = independence_tests(found, data.mass, {"control": data.control})
        p += [test.p for test in tests]
        n_false += "depends" in " ".join(sentences(tests))
    assert n_false <= 3  # expected is one of a hundred pairs
    assert 0.4 < np.mean(p) < 0.6  # 0.5 with an error of 0.03
    background = toy(2000, 6000, 1, in_background=0.05)
    found = fit(background.mass, LOW, HIGH, COMPONENTS)
    said = sentences(independence_tests(found, background.mass, {"control": background.control}))
    assert "control depends on the mass in the sidebands" in said[0]
    assert "are biased" in said[0]
    signal = toy(4000, 4000, 1, in_signal=0.1)
    found = fit(signal.mass, LOW, HIGH, COMPONENTS)
    said = sentences(independence_tests(found, signal.mass, {"control": signal.control}))
    assert "control depends on the mass in the peak" in said[0]


def test_a_background_that_changes_with_a_feature_is_no_bias_of_weights_that_allow_it() -> None:
    data = toy(2000, 6000, 1, in_background=0.05)
    tests = independence_tests(fit(data.mass, LOW, HIGH, COMPONENTS), data.mass, {"control": data.control})
    said = next(each for each in sentences(tests, 2) if "sidebands" in each)
    assert "which these weights allow where its mass is a polynomial of degree 2" in said
    assert "biased" not in said


def test_a_feature_without_values_is_said_not_to_be_tested(fitted: Fit) -> None:
    features = {"empty": np.full(len(TOY.mass), np.nan), "constant": np.ones(len(TOY.mass))}
    said = " ".join(sentences(independence_tests(fitted, TOY.mass, features)))
    assert "empty was not tested" in said
    assert "constant was not tested" in said


def test_the_error_of_all_weights_by_replicas_is_that_of_the_fitted_yield() -> None:
    """Two widths take signal from the background and give it back, which Σ w² does not show."""
    rng = np.random.default_rng(11)
    wide = rng.random(4000) < 0.3
    signal = rng.normal(5.28, np.where(wide, 0.035, 0.015))
    mass = np.concatenate([signal, LOW - np.log1p(-rng.random(16_000) * (1 - np.exp(-3 * (HIGH - LOW)))) / 3])
    mass = mass[(mass > LOW) & (mass < HIGH)]
    found = fit(mass, LOW, HIGH, {"signal": Component("double_gauss"), "background": Component("exponential")})
    weight = sweights(found, mass)(mass)["signal"]
    data = histogram_of(mass, LOW, HIGH)
    replicas = weight_replicas(found, lambda each: sweights(each, data), 200)
    whole = weight_sum(weight, [each(mass)["signal"] for each in replicas])
    error = found.parameters["signal.yield"].error
    assert np.sqrt((weight**2).sum()) < 0.8 * error
    # The spread of 200 replicas is known to 5 %, and the covariance is that of a parabola.
    assert (whole.high - whole.low) / 2 == pytest.approx(error, rel=0.15)
    assert whole.value == pytest.approx(found.yield_of("signal").value, rel=1e-4)


def test_known_shapes_have_replicas_that_are_the_weights() -> None:
    known = {"signal": Component("gauss", {"mean": MEAN, "sigma": 0.02}), "background": Component("uniform")}
    found = fit(TOY.mass, LOW, HIGH, known)
    weights = sweights(found, TOY.mass)
    (replica,) = weight_replicas(found, lambda each: sweights(each, TOY.mass), 1)
    np.testing.assert_allclose(replica(TOY.mass)["signal"], weights(TOY.mass)["signal"], rtol=1e-9)
    one = weight_sum(np.array([1.0, -0.5]), [[1.0, -0.5], [1.5, 0.0]])
    assert one.high - one.value == pytest.approx(np.sqrt(1.25 + (0.0 + 1.0) / 2))


def test_the_same_fit_has_the_same_replicas(fitted: Fit) -> None:
    first, second = (weight_replicas(fitted, lambda each: sweights(each, TOY.mass), 2) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one(TOY.mass)["signal"], other(TOY.mass)["signal"])
    assert not np.array_equal(first[0](TOY.mass)["signal"], first[1](TOY.mass)["signal"])
