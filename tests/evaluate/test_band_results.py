"""Bands on test: the core of pulls against known samples, shares against a Gaussian's, panels against numpy's sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from band_values import band_values
from pidlab.evaluate.bands import band_variable, fit_core, gaussian_share
from pidlab.evaluate.results import BandCurve


def _with_tail(n, rng, begin):
    """A unit Gaussian that continues as an exponential from `begin` widths above its mean on."""
    core, beyond = np.sqrt(2 * np.pi) * norm.cdf(begin), np.exp(-(begin**2) / 2) / begin
    u, share = rng.random(n), core / (core + beyond)
    return np.where(
        u < share, norm.ppf(np.minimum(u / share, 1) * norm.cdf(begin)), begin + rng.exponential(size=n) / begin
    )


@pytest.mark.parametrize("begin", [1.2, 2.0, np.inf], ids=["long tail", "tail", "gaussian"])
def test_the_core_of_pulls_is_found_whatever_tail_there_is(begin):
    rng = np.random.default_rng(1)
    unit = rng.standard_normal(40_000) if np.isinf(begin) else _with_tail(40_000, rng, begin)
    mean, width = fit_core(0.2 + 0.9 * unit, np.full(len(unit), 0.5))
    assert abs(mean.value - 0.2) < 4 * (mean.high - mean.value)
    assert abs(width.value - 0.9) < 4 * (width.high - width.value)
    assert 0.003 < width.high - width.value < 0.012
    assert mean.n == pytest.approx((np.abs(0.2 + 0.9 * unit) < 4).sum())


def test_errors_of_the_core_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    fits = [fit_core(rng.standard_normal(2000), np.ones(2000)) for _ in range(60)]
    means = [mean.value / (mean.high - mean.value) for mean, _ in fits]
    widths = [(width.value - 1) / (width.high - width.value) for _, width in fits]
    for pulls in (means, widths):
        assert 0.7 < np.std(pulls) < 1.35
    assert abs(np.mean(means)) < 0.5


def test_weights_count_as_so_many_events():
    rng = np.random.default_rng(3)
    wide = rng.random(20_000) < 0.5
    pulls = np.where(wide, 1.3, 0.8) * rng.standard_normal(20_000)
    mean, width = fit_core(pulls, np.where(wide, 0.0, 1.0))
    assert width.value == pytest.approx(0.8, abs=4 * (width.high - width.value))
    assert mean.n == pytest.approx((~wide).sum(), rel=1e-3)


def test_of_few_events_no_core_is_claimed():
    mean, width = fit_core(np.random.default_rng(4).standard_normal(49), np.ones(49))
    assert np.isnan(mean.value)
    assert np.isnan(width.value)
    assert width.n == 49


def test_pulls_of_a_right_band_are_a_unit_gaussian_in_all_and_in_bins():
    values, sample = band_values()
    found = band_variable(values, sample, {"sigma3": 3.0})
    assert found.lines == {"sigma3": 3.0}
    assert found.width.value == pytest.approx(1, abs=0.02)
    assert found.core_share == pytest.approx(1, abs=0.02)
    for n in (1, 2, 3):
        kept = found.kept[str(n)]
        assert kept.value == pytest.approx(2 * norm.cdf(n) - 1, abs=4 * (kept.high - kept.low))
        assert gaussian_share(n, "both") == pytest.approx(2 * norm.cdf(n) - 1, rel=1e-12)
    [trend] = found.trends
    assert trend.x == "p"
    assert len(trend.n) == 20
    np.testing.assert_allclose(trend.n, trend.n.mean(), rtol=0.05)
    assert np.abs(trend.mean / trend.mean_error).max() < 4
    assert np.abs((trend.width - 1) / trend.width_error).max() < 4
    known = np.isfinite(values.pulls) & sample.is_signal
    assert found.pulls["electron"].entries == known.sum()


def test_one_side_keeps_what_a_gaussian_keeps_on_one_side():
    values, sample = band_values(side="low")
    found = band_variable(values, sample, {})
    for n in (1, 2, 3):
        kept = found.kept[str(n)]
        assert kept.value == pytest.approx(norm.cdf(n), abs=4 * (kept.high - kept.low))
        assert gaussian_share(n, "low") == pytest.approx(norm.cdf(n), rel=1e-12)


def test_each_group_has_its_panel_with_its_curve_and_its_candidates():
    values, sample = band_values()
    found = band_variable(values, sample, {})
    assert [panel.group for panel in found.panels] == ["sector = 1", "sector = 2"]
    assert found.n_groups == 2
    for number, panel in enumerate(found.panels, start=1):
        np.testing.assert_allclose(panel.curve.mean, (1 + number) * panel.curve.x)
        np.testing.assert_allclose(panel.curve.above, 0.5 * number)
        for particle, rows in (("electron", sample.is_signal), ("pion", ~sample.is_signal)):
            chosen = rows & (values.group == number) & np.isfinite(values.values)
            counts = np.histogram2d(values.x[chosen, 0], values.values[chosen], (found.x_edges, found.y_edges))[0]
            np.testing.assert_allclose(panel.planes[particle].sumw, 0.5 * counts, rtol=1e-3)
    low, high = found.y_edges[[0, -1]]
    assert low <= min((panel.curve.mean - 5 * panel.curve.below).min() for panel in found.panels)
    assert high >= max((panel.curve.mean + 5 * panel.curve.above).max() for panel in found.panels)


def test_a_page_holds_twelve_groups():
    values, sample = band_values(groups=tuple(range(1, 16)))
    found = band_variable(values, sample, {})
    assert len(found.panels) == 12
    assert found.n_groups == 15


def test_of_several_quantities_the_curve_follows_the_median_of_the_others():
    values, sample = band_values(groups=(1,))
    theta = 10 - 2 * values.x[:, 0]

    def curve(number, x):
        m = 10 * x[:, 1]
        return BandCurve(x[:, 0], m, m, np.ones(len(x)), np.ones(len(x)), m, m)

    two = values._replace(against=("p", "theta"), x=np.column_stack([values.x, theta]), curve=curve)
    found = band_variable(two, sample, {})
    curve_found = found.panels[0].curve
    inside = (curve_found.x > 1.3) & (curve_found.x < 3.7)
    np.testing.assert_allclose(curve_found.mean[inside], (10 * (10 - 2 * curve_found.x))[inside], rtol=0.02)
    assert [trend.x for trend in found.trends] == ["p", "theta"]
