"""The cuts as an estimator: what score, boxes and cut strings promise to each other, and what a user may ask."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from pidlab.errors import ModelError
from pidlab.models.cuts.estimator import Cuts
from pidlab.models.cuts.windows import Box

QUICK = {"generations": 15}


def blobs(n, d, seed=0, dtype=np.float32):
    """Signal of mean 1, 0.5, … over background of mean 0, n of either; feature 1 holds integers."""
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], n)
    x = rng.normal(y[:, None] / np.arange(1, d + 1), 1.0, (2 * n, d))
    if d > 1:
        x[:, 1] = np.round(2 * x[:, 1])
    return x.astype(dtype), y


def with_missing(x, share=0.1, seed=1):
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.float32(np.nan), x)


def evaluate(cut, names, x):
    """A cut string as numpy reads it: && of comparisons, in double."""
    passed = np.ones(len(x), bool)
    if cut in ("0", "1"):
        return passed & (cut == "1")
    for term in cut.split(" && "):
        name, sign, number = re.fullmatch(r"(\S+) ([<>]) (\S+)", term).groups()
        column = x[:, names.index(name)].astype(np.float64)
        passed &= column > float(number) if sign == ">" else column < float(number)
    return passed


@pytest.fixture(scope="module")
def fitted():
    x, y = blobs(3000, 4)
    x = with_missing(x)
    return Cuts(feature_names=["a", "P.cal.e", "c", "d"], **QUICK).fit(x, y), x, y


@pytest.mark.slow
@parametrize_with_checks([Cuts(generations=5)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


def test_a_rectangle_of_signal_is_found():
    rng = np.random.default_rng(1)
    inside, outside = rng.uniform([2, -1], [3, 1], (2000, 2)), rng.uniform(-5, 5, (20_000, 2))
    outside = outside[~np.all((outside > [1.9, -1.1]) & (outside < [3.1, 1.1]), axis=1)]
    x, y = np.concatenate([inside, outside]), np.repeat([1, 0], [len(inside), len(outside)])
    box = Cuts().fit(x, y).box(0.99)
    assert box.background == 0
    np.testing.assert_allclose(box.low, [2, -1], rtol=0, atol=0.15)
    np.testing.assert_allclose(box.high, [3, 1], rtol=0, atol=0.15)


def test_two_separate_rectangles_are_told_apart():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(0, 1, (500, 2)), rng.uniform(2, 3, (500, 2))])
    y = np.repeat([0, 1], 500)
    model = Cuts(**QUICK).fit(x, y)
    np.testing.assert_array_equal(model.predict(x), y)
    assert model.box(1.0).background == 0


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 4), st.booleans(), st.integers(0, 10_000))
def test_boxes_are_nested_and_score_above_threshold_is_a_box(n, d, weighted, seed):
    x, y = blobs(n, d, seed)
    x = with_missing(x, seed=seed)
    w = np.random.default_rng(seed).integers(1, 4, len(y)).astype(float) if weighted else None
    model = Cuts(generations=3).fit(x, y, w)
    boxes, score = model.boxes_, model.scores(x)[:, 1]
    assert np.all(boxes.low[1:] >= boxes.low[:-1])
    assert np.all(boxes.high[1:] <= boxes.high[:-1])
    passed = np.array([boxes.box(i).passes(x) for i in range(len(boxes))])
    assert np.all(passed[1:] <= passed[:-1])  # who passes a tighter box passes each looser one
    assert np.all(np.diff(boxes.level_score) > 0)
    np.testing.assert_array_equal(score, boxes.level_score[passed.sum(axis=0)].astype(np.float32))
    for i, threshold in enumerate(boxes.level_score[:-1]):
        np.testing.assert_array_equal(score > np.float32(threshold), passed[i])


def test_any_threshold_means_one_box(fitted):
    model, x, _ = fitted
    score = model.scores(x)[:, 1]
    for threshold in [-0.1, 0.0, *np.linspace(0.01, 0.99, 41), 1.0, *model.boxes_.level_score[::7]]:
        decided = score.astype(np.float64) > threshold
        np.testing.assert_array_equal(model.threshold_box(threshold).passes(x), decided)
        cut = model.threshold_box(threshold).cut_string(model.feature_names)
        np.testing.assert_array_equal(evaluate(cut, model.feature_names, x), decided)
    assert model.threshold_box(1.0).cut_string(model.feature_names) == "0"
    assert model.threshold_box(-1.0).cut_string(model.feature_names) == "1"


def test_scores_are_float32_in_the_unit_interval_and_rows_of_two_classes_sum_to_one(fitted):
    model, x, _ = fitted
    scores = model.scores(x)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    np.testing.assert_array_equal(scores[:, 0], 1 - scores[:, 1])
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-12)


def test_score_is_the_purity_where_the_sample_is_large():
    x, y = blobs(40_000, 1, dtype=np.float64)
    score = Cuts().fit(x, y).scores(x)[:, 1]
    for low, high in [(0.05, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.95)]:
        between = (score > low) & (score < high)
        # 0.02: the chain's shells are not the intervals of equal likelihood, and each is measured with 1 %
        assert abs(y[between].mean() - score[between].mean()) < 0.02


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cut_strings_repeat_the_decisions_exactly(nested, dtype):
    x, y = blobs(2000, 3, dtype=dtype)
    x = with_missing(x).astype(dtype)
    names = ["a", "b.c", "v[2]"]
    model = Cuts(nested=nested, **QUICK).fit(x, y)
    for efficiency in (0.3, 0.55, 0.9, 0.99):
        cut = model.cut_string(efficiency, names)
        np.testing.assert_array_equal(evaluate(cut, names, x), model.decide(x, efficiency))
        kept = model.decide(x, efficiency)[y == 1].mean()
        np.testing.assert_allclose(kept, model.box(efficiency).efficiency, rtol=1e-12, atol=0)
        assert kept >= efficiency


def test_numbers_in_cut_strings_are_short_and_expressions_bracketed():
    x, y = blobs(5000, 2)
    cut = Cuts(sides={0: "min", 1: "min"}, **QUICK).fit(x, y).cut_string(0.5, ["log(1 + n)", "E_sc[3]"])
    assert re.fullmatch(r"\(log\(1 \+ n\)\) > -?\d+\.\d{1,4}( && E_sc\[3\] > -?\d+\.\d{1,4})?", cut)


def test_codes_of_missing_values_are_refused_where_their_feature_is_cut_expressions_too():
    box = Box(np.array([1.0, -np.inf, -np.inf]), np.array([np.inf, np.inf, 2.0]), 0.9, 0.1)
    codes = [["(a + b) != -999"], ["c != -1"], ["d != -1", "d != -999"]]
    text = "(a + b) > 1.0 && d < 2.0 && (a + b) != -999 && d != -1 && d != -999"
    assert box.cut_string(["a + b", "c", "d"], codes) == text


def test_a_missing_value_passes_only_where_nothing_is_cut(fitted):
    model, x, _ = fitted
    missing = np.full((1, 4), np.nan, np.float32)
    for i in range(0, len(model.boxes_), 9):
        box = model.boxes_.box(i)
        for j in range(4):
            row = np.where(np.isfinite(box.low), box.low + 1e-3, np.where(np.isfinite(box.high), box.high - 1e-3, 0.0))
            row[j] = np.nan
            assert box.passes(row[None])[0] == (np.isinf(box.low[j]) and np.isinf(box.high[j]))
    assert model.scores(missing)[0, 1] < model.scores(x)[:, 1].max()


def test_infinite_values_pass_where_there_is_no_face(fitted):
    model, x, _ = fitted
    x = np.nan_to_num(x[:50], nan=0.0)
    for value in (np.inf, -np.inf):
        x[:, 0] = value
        passed = sum(model.boxes_.box(i).passes(x).astype(int) for i in range(len(model.boxes_)))
        np.testing.assert_array_equal(model.boxes_.levels(x), passed)


def test_weights_equal_repetition():
    x, y = blobs(300, 3)
    times = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = Cuts(**QUICK).fit(x, y, times.astype(float))
    repeated = Cuts(**QUICK).fit(np.repeat(x, times, axis=0), np.repeat(y, times))
    np.testing.assert_array_equal(weighted.scores(x), repeated.scores(x))


def test_the_scale_of_a_class_weight_moves_scores_and_no_box():
    x, y = blobs(500, 2)
    plain, heavy = Cuts(**QUICK).fit(x, y), Cuts(**QUICK).fit(x, y, np.where(y == 1, 10.0, 1.0))
    np.testing.assert_array_equal(plain.boxes_.low, heavy.boxes_.low)
    assert heavy.scores(x)[:, 1].mean() > plain.scores(x)[:, 1].mean()


def test_the_same_seed_gives_the_same_boxes_and_the_order_of_events_none_others():
    x, y = blobs(1000, 3)
    order = np.random.default_rng(4).permutation(len(y))
    first, again, mixed = (Cuts(seed=5, **QUICK).fit(*data) for data in ((x, y), (x, y), (x[order], y[order])))
    np.testing.assert_array_equal(first.boxes_.low, again.boxes_.low)
    np.testing.assert_array_equal(first.scores(x), mixed.scores(x))
    other = Cuts(seed=6, **QUICK).fit(x, y)
    assert not np.array_equal(first.scores(x), other.scores(x))


def test_a_rising_change_of_a_feature_changes_no_score():
    x, y = blobs(300, 2, dtype=np.float64)
    before = Cuts(**QUICK).fit(x, y).scores(x)
    after = np.stack([np.exp(x[:, 0]), x[:, 1] ** 3 - 7], axis=1)
    np.testing.assert_array_equal(Cuts(**QUICK).fit(after, y).scores(after), before)


def test_three_classes_each_have_a_chain():
    rng = np.random.default_rng(5)
    y = np.repeat(["kaon", "pion", "proton"], 400)
    x = rng.normal(np.repeat([[0, 0], [3, 0], [0, 3]], 400, axis=0), 0.7)
    model = Cuts(signal="pion", **QUICK).fit(x, y)
    assert len(model.windows_) == 3
    assert model.boxes_ is model.windows_[1]
    assert np.mean(model.predict(x) == y) > 0.93
    np.testing.assert_array_equal(model.scores(x)[:, 1] > np.float32(0.5), model.threshold_box(0.5).passes(x))
    kept = model.decide(x, 0.9)
    assert kept[y == "pion"].mean() >= 0.9
    assert kept[y != "pion"].mean() < 0.1


def test_the_signal_may_be_the_first_class():
    x, y = blobs(500, 2)
    last, first = Cuts(**QUICK).fit(x, y), Cuts(signal=0, **QUICK).fit(x, 1 - y)
    np.testing.assert_array_equal(first.scores(x)[:, 0], last.scores(x)[:, 1])


def test_each_efficiency_its_own_optimum_is_nowhere_worse_and_has_no_score():
    x, y = blobs(1000, 3)
    nested, free = Cuts().fit(x, y), Cuts(nested=False).fit(x, y)
    for efficiency in np.linspace(0.3, 0.95, 14):
        # one of the thousand background candidates, either way: the chain refines boxes that the search found
        assert free.box(efficiency).background <= nested.box(efficiency).background + 0.002
    for ask in (free.scores, free.predict_proba, free.predict):
        with pytest.raises(ModelError, match=r"no score.*decide"):
            ask(x)
    with pytest.raises(ModelError, match="no threshold"):
        free.threshold_box(0.5)


@pytest.mark.parametrize("nested", [True, False])
def test_sides_ranges_and_widths_are_kept(nested):
    x, y = blobs(1000, 3)
    options = {"sides": {"x0": "min", 1: "max", "x2": "both"}, "ranges": {"x0": (-0.5, 0.75)}, "min_width": {"x2": 2.0}}
    boxes = Cuts(nested=nested, **options, **QUICK).fit(x, y).boxes_
    low, high = boxes.low, boxes.high
    assert np.all(np.isinf(high[:, 0]))
    assert np.all((low[:, 0] >= -0.5) & (low[:, 0] <= 0.75) | np.isinf(low[:, 0]))
    assert np.all(np.isinf(low[:, 1]))
    assert np.all(np.isfinite(low[:, 2]) & np.isfinite(high[:, 2]))
    assert np.all(high[:, 2] - low[:, 2] >= 2.0)


def test_efficiencies_asked_for_are_served():
    x, y = blobs(1000, 2)
    model = Cuts(nested=False, efficiencies=[0.6, 0.9], **QUICK).fit(x, y)
    assert 1 <= len(model.boxes_) <= 2
    assert model.box(0.6).efficiency >= 0.6
    with pytest.raises(ModelError, match=r"no box keeps 99 % of the signal"):
        model.box(0.99)


@pytest.mark.parametrize("search", ["genetic", "swarm", "annealing", "monte-carlo"])
def test_other_searches_give_the_same_kind_of_model(search):
    x, y = blobs(400, 2)
    model = Cuts(search=search, generations=4).fit(x, y)
    np.testing.assert_array_equal(model.threshold_box(0.6).passes(x), model.scores(x)[:, 1] > np.float32(0.6))
    assert model.box(0.8).background < 0.75


@pytest.mark.parametrize("n", [1, 2, 10])
def test_tiny_samples_are_fitted(n):
    x, y = blobs(n, 3)
    model = Cuts(**QUICK).fit(x, y)
    assert np.all(np.isfinite(model.scores(x)))


def test_useless_features_are_not_cut():
    x, y = blobs(500, 1)
    sentinel = np.where(np.arange(1000) % 3 == 0, -999, 0.5)
    useless = np.stack([np.full(1000, 7.0), np.full(1000, np.nan), sentinel], axis=1).astype(np.float32)
    model = Cuts(sides={2: "both"}, **QUICK).fit(np.concatenate([x, useless], axis=1), y)
    boxes = model.boxes_
    assert np.all(np.isinf(boxes.low[:, 1:3]))
    assert np.all(np.isinf(boxes.high[:, 1:3]))
    only = Cuts(**QUICK).fit(useless[:, :2], y)
    assert only.cut_string(0.9) == "1"
    np.testing.assert_array_equal(only.decide(useless[:, :2], 0.9), True)


def test_thirty_features():
    x, y = blobs(300, 30)
    model = Cuts(generations=10).fit(x, y)
    assert model.box(0.9).background < 0.8


def test_save_and_load_give_the_same_model(fitted, tmp_path):
    model, x, _ = fitted
    model.save(tmp_path)
    again = Cuts.load(tmp_path)
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
    np.testing.assert_array_equal(again.classes_, model.classes_)
    assert again.cut_string(0.9) == model.cut_string(0.9)
    assert again.get_params()["generations"] == 15
    np.testing.assert_array_equal(clone(again).fit(*blobs(50, 4)).classes_, [0, 1])


def test_a_file_of_an_older_version_with_a_figure_of_merit_is_loaded(fitted, tmp_path):
    model, x, _ = fitted
    model.save(tmp_path)
    content = json.loads((tmp_path / "cuts.json").read_text())
    content["options"]["figure_of_merit"], content["optimum"] = "punzi", 0.8
    (tmp_path / "cuts.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(Cuts.load(tmp_path).scores(x), model.scores(x))


@pytest.mark.parametrize(
    "damage", [lambda c: c.pop("windows"), lambda c: c.update(model="bdt"), lambda c: c["windows"][0]["low"].pop()]
)
def test_a_damaged_file_is_refused_by_name(fitted, tmp_path, damage):
    fitted[0].save(tmp_path)
    content = json.loads((tmp_path / "cuts.json").read_text())
    damage(content)
    (tmp_path / "cuts.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"cuts\.json"):
        Cuts.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "gentic"}, "did you mean 'genetic'"),
        ({"sides": {"x0": "up"}}, r"sides\[x0\] is 'up'"),
        ({"sides": {"y0": "min"}}, "speaks of a feature 'y0'; did you mean 'x0'"),
        ({"ranges": {0: (2, 1)}}, "the lower first"),
        ({"min_width": {0: -1}}, "not negative"),
        ({"efficiencies": [0.5, 1.5]}, "above 0 and at most 1"),
        ({"signal": "muon"}, "signal is 'muon'"),
        ({"feature_names": ["a"]}, "1 names for 2 features"),
    ],
)
def test_a_wrong_option_is_answered_with_what_is_right(options, message):
    with pytest.raises(ModelError, match=message):
        Cuts(**options).fit(*blobs(20, 2))


def test_one_class_alone_cannot_be_trained():
    x, y = blobs(20, 2)
    with pytest.raises(ModelError, match="class 0 has none"):
        Cuts().fit(x, y, (y == 1).astype(float))
    with pytest.raises(ModelError, match="one class only"):
        Cuts().fit(x, np.ones(len(x)))


def test_progress_is_told_and_kept():
    reports = []
    x, y = blobs(200, 2)
    model = Cuts(**QUICK).fit(x, y, progress=lambda done, total, values: reports.append((done, total, values)))
    assert [r[0] for r in reports] == list(range(1, len(reports) + 1))
    assert reports[0][1] == 15
    assert [r[2]["background"] for r in reports] == model.history_["background"]
    assert np.all(np.diff(model.history_["background"]) <= 0)
