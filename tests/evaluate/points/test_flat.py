"""Flat-efficiency working points: the efficiency is the same in every bin of the spectators, and on its target."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import RegularGridInterpolator

from evaluate_samples import evaluated, probabilities, sample_of, weights
from pidlab.config.names import suffixes
from pidlab.config.schema import Evaluate, Flat
from pidlab.errors import DataError, UsageError
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.points.flat import decided_by, flat_from_json, thresholds_at
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import signal_score
from pidlab.evaluate.results import FlatThreshold, json_value
from pidlab.runs.bundle import Decision

ONE = [Flat(x="P.p", bins=10)]


def fading(n, rng, kind="unit"):
    """Half signal, whose separation fades with the momentum and moves with the angle."""
    y = np.arange(n) % 2
    p, angle = 1 + rng.exponential(3, size=n), rng.normal(size=n)
    x = rng.normal(size=n) * (1 + 0.05 * p) + np.where(y == 0, 2.5 * np.exp(-p / 8) + 0.3 * angle, 0.0)
    spectators = {"P.p": p, "angle": angle}
    event = rng.integers(0, 2**63, n).astype(np.uint64)
    return sample_of(y, x=x[:, None], spectators=spectators, weight=weights(kind, n, rng)[0], event=event)


def logit(sample):
    return probabilities(2 * sample.x[:, 0])


def measured(flat, n_validation, n_test, seed=1, kind="unit", model=logit, **how):
    rng = np.random.default_rng(seed)
    samples = {
        "train": fading(500, rng), "validation": fading(n_validation, rng, kind), "test": fading(n_test, rng, kind)
    }  # fmt: skip
    return samples, evaluated(model, samples, options=Evaluate(flat=flat, **how))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unit", "exponential", "negative"])
@pytest.mark.parametrize("flat", [ONE, [Flat(x="P.p", bins=6, y="angle", y_bins=4)]])
def test_the_efficiency_is_on_target_in_every_bin_and_that_of_one_threshold_is_not(flat, kind):
    _, found = measured(flat, 100_000, 20_000, kind=kind)
    points = {p.name: p for p in found.working_points}
    assert list(points) == ["eff90", "eff95", "eff99", "eff90_flat", "eff95_flat", "eff99_flat"]
    for f in found.flatness:
        target = points[f.working_point].target
        chi2 = {}
        for name, one in (("before", f.before), ("after", f.after)):
            used = ~one.thin
            # The thresholds fluctuate with a sample five times as large.
            error = np.sqrt(1.2) * np.maximum(one.high - one.value, one.value - one.low)[used]
            chi2[name] = np.sum(((one.value[used] - target) / error) ** 2)
        assert stats.chi2.sf(chi2["after"], used.sum()) > 1e-3
        assert f.chi2_after < 2.5 * f.ndf
        if target < 0.99:  # at 99 % these candidates show no more than a trend
            assert stats.chi2.sf(chi2["before"], used.sum()) < 1e-4
            assert f.chi2_before > 3 * f.ndf
            assert f.spread_after < 0.4 * f.spread_before


@pytest.mark.slow
def test_the_whole_stays_on_target_where_few_candidates_decide():
    """Many bins fit the few candidates that made their thresholds; the common shift must not be fooled by that."""
    reached = []
    for seed in range(12):
        _, found = measured(ONE, 1000, 10_000, seed)
        reached.append([p.efficiency.value for p in found.working_points])
    error = np.std(reached, axis=0) / np.sqrt(len(reached))
    # Fifty candidates of a bin cannot say where 99 % of them lie: some thousandths are left open there.
    assert np.all(np.abs(np.mean(reached, axis=0)[3:] - [0.9, 0.95, 0.99]) < 3 * error[3:] + [0.001, 0.001, 0.004])


def test_without_structure_bins_lean_on_their_neighbours():
    """What the smoother takes from the noise of bins: thresholds of a response that follows nothing."""
    rng = np.random.default_rng(2)

    def plain(n):
        sample = fading(n, rng)
        return dataclasses.replace(sample, x=(rng.normal(size=(n, 1)) + (sample.y == 0)[:, None]).astype(np.float32))

    samples = {"train": plain(500), "validation": plain(4000), "test": plain(40_000)}
    found = evaluated(logit, samples, options=Evaluate(flat=ONE))
    raw = np.sqrt(0.9 * 0.1 / 200)
    for f in found.flatness[:1]:
        assert f.spread_after < 0.6 * raw


def along_p(response, n, rng, weight=1.0):
    """Signal whose score is `response(p, standard normal)` of a momentum with an exponential spectrum."""
    y, p = np.arange(n) % 2, 1 + rng.exponential(2.0, size=n)
    x = np.where(y == 0, response(p, rng.normal(size=n)), rng.normal(size=n) - 1)
    event = rng.integers(0, 2**63, n).astype(np.uint64)
    return sample_of(y, x=x[:, None], spectators={"P.p": p}, event=event, weight=np.full(n, weight))


STRUCTURES = {
    "falls with an exponential spectrum": lambda p, z: 4 * np.exp(-p / 2.5) + 0.3 * z,
    "a step": lambda p, z: np.where(p < 2.3, 3.0, 0.0) + z,
    "a step off the edges of bins, narrow on one side": lambda p, z: np.where(p < 3.1, 4.0 + 0.2 * z, z),
}


@pytest.mark.slow
@pytest.mark.parametrize("response", STRUCTURES.values(), ids=STRUCTURES)
def test_strong_structure_is_evened_out(response):
    """What the thresholds of a validation sample five times as large leave beyond the fluctuation of test."""
    rng = np.random.default_rng(11)
    samples = {
        name: along_p(response, n, rng) for name, n in (("train", 500), ("validation", 50_000), ("test", 10_000))
    }
    targets = [0.5, 0.9, 0.99]
    found = evaluated(logit, samples, options=Evaluate(flat=ONE, working_points=targets))
    for f, target in zip(found.flatness, targets, strict=True):
        assert f.chi2_after < 2 * f.ndf
        assert f.chi2_before > 4 * f.ndf
        assert np.all(np.abs(f.after.value - target) < 4 * (f.after.high - f.after.low) / 2 + 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.001, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("scale", [1.0, 0.037])
def test_a_plateau_passes_as_it_does_at_one_threshold(level, scale):
    """Rounded scores, clipped at both ends, that follow no spectator: what shares a score is decided together."""

    def stepped(p, z):
        return np.clip(np.round((z + 1.5) / level) * level, 0, 3)

    def as_score(sample):
        return np.stack([sample.x[:, 0], -sample.x[:, 0]], axis=1)

    apart = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        samples = {n: along_p(stepped, m, rng, scale) for n, m in (("train", 50), ("validation", 4000), ("test", 8000))}
        options = Evaluate(flat=[Flat(x="P.p", bins=5)], working_points=[0.5, 0.9, 0.99])
        found = evaluated(as_score, samples, options=options).working_points
        apart.append(
            [flat.efficiency.value - one.efficiency.value for one, flat in zip(found, found[3:], strict=False)]
        )
    assert np.all(np.abs(np.mean(apart, axis=0)) < 0.01)
    assert np.all(np.abs([a[2] for a in apart]) < 1e-9)  # at 99 % the lowest plateau is needed: all pass


def test_flat_decisions_do_not_depend_on_the_scale_of_weights():
    def rounded(p, z):
        return np.round(4 * np.exp(-p / 2.5) + 0.3 * z, 1)

    passed = []
    for scale in (1.0, 0.037, 1e6):
        rng = np.random.default_rng(3)
        samples = {n: along_p(rounded, m, rng, scale) for n, m in (("train", 50), ("validation", 8000), ("test", 8000))}
        found = evaluated(logit, samples, options=Evaluate(flat=ONE))
        passed.append([m.passed / m.total for m in (f.after for f in found.flatness)])
    for other in passed[1:]:
        np.testing.assert_allclose(other, passed[0], rtol=1e-9, atol=0)


def test_a_rising_function_of_the_score_changes_no_decision():
    def as_score(sample):
        return np.stack([2 * sample.x[:, 0], -2 * sample.x[:, 0]], axis=1)

    samples, found = measured(ONE, 2000, 5000, model=as_score)
    scaled = evaluated(lambda s: 40 * as_score(s) - 7, samples, options=Evaluate(flat=ONE))
    for a, b in zip(found.working_points, scaled.working_points, strict=True):
        np.testing.assert_allclose(a.efficiency.value, b.efficiency.value, rtol=2e-3)
    curved = evaluated(logit, samples, options=Evaluate(flat=ONE))
    for a, b in zip(found.working_points, curved.working_points, strict=True):
        np.testing.assert_allclose(a.efficiency.value, b.efficiency.value, rtol=5e-3)


def test_empty_and_thin_bins_take_the_threshold_of_their_neighbours():
    edges = [0.0, 2.0, 2.0001, 4.0, 6.0, 10.0, 400.0, 500.0]
    samples, found = measured([Flat(x="P.p", bins=edges)], 4000, 4000)
    point = found.working_points[3]
    assert len(point.flat.nodes[0]) < len(edges) - 1  # a bin without anybody has no node
    assert np.isfinite(point.flat.values).all()
    low, high = point.flat.values.min(), point.flat.values.max()
    far = thresholds_at(point.flat, {"P.p": np.array([-1e9, 2.00005, 450.0, np.inf])})
    assert np.all((far >= low) & (far <= high))
    after = found.flatness[0].after
    assert np.isnan(after.value[-1])
    assert (after.n[-1], after.thin[-1]) == (0, False)
    counts = np.histogram(samples["test"].spectators["P.p"][samples["test"].is_signal], edges)[0]
    assert after.thin.tolist() == [0 < n < 10 for n in counts]


def test_without_enough_events_one_threshold_is_left():
    _, found = measured(ONE, 40, 400, thin=50)
    flat = found.working_points[3].flat
    assert flat.values.shape == (1,)
    assert found.flatness[0].ndf == 0 or np.isfinite(found.flatness[0].chi2_after)


def test_a_candidate_without_the_spectator_passes_nothing_and_is_told_of():
    samples, _ = measured(ONE, 1000, 1000)
    p = samples["test"].spectators["P.p"].copy()
    p[:100] = np.nan
    samples["test"] = dataclasses.replace(samples["test"], spectators={**samples["test"].spectators, "P.p": p})
    found = evaluated(logit, samples, options=Evaluate(flat=ONE))
    score, threshold = decided_by(
        found.working_points[3], signal_score(logit(samples["test"]), samples["test"]), samples["test"]
    )
    assert not passes(score, threshold)[:100].any()
    assert passes(score, threshold)[100:].any()
    assert "100 of 1000 test candidates have no P.p; they pass no flat working point" in found.note


def test_decisions_maps_and_comparisons_are_the_same_decision():
    samples, found = measured(ONE, 3000, 3000)
    test, point = samples["test"], found.working_points[3]
    score = signal_score(logit(test), test)
    decision = Decision(point.name, point.threshold, point.flat).passed(score, test.spectators)
    np.testing.assert_array_equal(passes(*decided_by(point, score, test)), decision)
    np.testing.assert_allclose(point.efficiency.value, decision[test.is_signal].mean(), rtol=1e-12)
    (one,) = (m for m in found.maps if m.working_point == "eff90_flat" and m.particle == "pion" and m.names == ("P.p",))
    assert one.passed.sum() == decision[~test.is_signal].sum()
    twin = dataclasses.replace(found, name="twin")
    scores = {"m": logit(test), "twin": logit(test)}
    deciding = {name: logit(samples["validation"]) for name in scores}
    (pair,) = compare_models(scores, test, deciding, samples["validation"], {"m": found, "twin": twin})
    assert [p.name for p in pair.working_points][3:] == ["eff90_flat", "eff95_flat", "eff99_flat"]
    assert all(p.delta_misid[:3] == (0.0, 0.0, 0.0) for p in pair.working_points)


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=6, unique=True),
    st.lists(st.floats(-50, 50), min_size=1, max_size=6, unique=True),
    st.integers(0, 1000),
)
def test_between_nodes_thresholds_are_those_of_scipys_interpolation(xs, ys, seed):
    rng = np.random.default_rng(seed)
    nodes = tuple(np.array(sorted(round(v, 3) for v in some)) for some in (xs, ys))
    if any(len(n) < 2 or np.diff(n).min() <= 0 for n in nodes):
        return
    values = rng.random(tuple(map(len, nodes)))
    flat = FlatThreshold(("x", "y"), nodes, values)
    points = rng.uniform(-60, 60, (50, 2))
    inside = np.clip(points, [n[0] for n in nodes], [n[-1] for n in nodes])
    expected = RegularGridInterpolator(nodes, values)(inside)
    np.testing.assert_allclose(thresholds_at(flat, {"x": points[:, 0], "y": points[:, 1]}), expected, rtol=1e-9)
    again = flat_from_json(json.loads(json.dumps(json_value(flat))))
    np.testing.assert_array_equal(again.values, values)
    assert again.names == flat.names


@pytest.mark.parametrize(
    "damage",
    [{"values": [1.0]}, {"nodes": [[2.0, 1.0]]}, {"names": []}, {"nodes": "no"}, {"values": "no"}, {"nodes": [[]]}],
)
def test_damaged_thresholds_are_refused(damage):
    good = json_value(FlatThreshold(("p",), (np.array([1.0, 2.0]),), np.array([0.1, 0.2])))
    with pytest.raises(DataError, match="make the run again"):
        flat_from_json(good | damage)


def test_names_are_branch_names_and_differ():
    assert suffixes([Flat(x="P.gtr.p")]) == ["flat"]
    several = [
        Flat(x="P.gtr.p"),
        Flat(x="H.gtr.p"),
        Flat(x="P.gtr.p", y="abs(P.gtr.th)"),
        Flat(x="1+1"),
        Flat(x="(-1)"),
    ]
    found = suffixes(several)
    assert found[:3] == ["flat_p", "flat_p_2", "flat_p_th"]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in found)


def test_what_is_no_spectator_cannot_be_followed():
    with pytest.raises(UsageError, match=re.escape("evaluate.flat: 'P.q' is no spectator; did you mean 'P.p'?")):
        measured([Flat(x="P.q")], 100, 100)
