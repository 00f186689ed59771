"""A run's results from simulated scores, without the stages that measure them: what plots and report are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pidlab.evaluate.results import (
    Comparison,
    CutStep,
    EfficiencyMap,
    Histogram,
    ModelResult,
    Overtraining,
    PairedPoint,
    Results,
    ReweightedGroup,
    Reweighting,
    RobustnessPoint,
    RobustnessResult,
    Roc,
    SampleMetrics,
    Training,
    WorkingPoint,
)
from pidlab.measured import UNDEFINED, Array, Measured

FEATURES = ("P.cal.etottracknorm", "log_npe", "cost_$_a^{2}", "100%_x")
TARGETS = (0.90, 0.95, 0.99)
CHANGES = {"smear": (0.01, 0.02, 0.05, 0.1), "scale": (0.98, 1.02), "shift": (-0.05, 0.05)}


def measured(value: float, n: float, low_arm: float = 1.0, high_arm: float = 1.2) -> Measured:
    """A fraction with arms around its binomial error, so that asymmetry shows."""
    error = np.sqrt(max(value * (1 - value), 1 / n) / n)
    return Measured(float(value), float(value - low_arm * error), float(value + high_arm * error), float(n))


def inverse(fraction: Measured) -> Measured:
    value, low, high, n = fraction
    return Measured(1 / value if value else np.inf, 1 / high, 1 / low if low > 0 else np.inf, n)


def reweighted(results: Results) -> Results:
    """The results with weights that made the last class like the signal in one variable."""
    rng = np.random.default_rng(9)
    edges = np.linspace(0.0, 8.0, 21)
    target, own = rng.exponential(1.0, 800), rng.exponential(2.0, 800)
    ratio = 2 * np.exp(-own / 2)
    sums, squares = np.histogram(own, edges, weights=ratio)[0], np.histogram(own, edges, weights=ratio**2)[0]
    inside = (own >= edges[0]) & (own <= edges[-1])
    w, x = ratio[inside], own[inside]
    moments = (float(w.sum()), float((w**2).sum()), float((w * x).sum()), float((w * x**2).sum()))
    after = Histogram(edges, np.pad(sums, 1), np.pad(squares, 1), len(own), moments)
    variables = {"p": {"target": histogram(target, edges), "before": histogram(own, edges), "after": after}}
    area = Measured(0.5, 0.48, 0.52, 700.0)
    group = ReweightedGroup(
        results.classes[-1], results.classes[-1:], 800, 800.0, 500.0, 2.0, 0.0, 0.0, 0, area, area, variables,
        histogram(ratio, np.linspace(0, 2, 11)),
    )  # fmt: skip
    return replace(results, reweighting=Reweighting(("p",), results.signal, "classifier", "both", (group,)))


def histogram(values: Array, edges: Array, weight: float = 1.0) -> Histogram:
    counts = np.histogram(values, np.concatenate([[-np.inf], edges, [np.inf]]))[0].astype(np.float64)
    inside = values[(values >= edges[0]) & (values < edges[-1])]
    w = weight
    moments = (w * len(inside), w * w * len(inside), w * float(inside.sum()), w * float((inside**2).sum()))
    return Histogram(edges, w * counts, w * w * counts, len(values), moments)


def scores(rng: np.random.Generator, classes: Sequence[str], n: int, strength: float) -> dict[str, Array]:
    """Scores in (0, 1) by class: the first class is high, the others lower, the last the hardest."""
    centres = strength * np.concatenate([[1.0], np.linspace(-1, -0.3, max(len(classes) - 1, 1))])
    return {name: 1 / (1 + np.exp(-2 * rng.normal(c, 1.0, n))) for name, c in zip(classes, centres, strict=False)}


def roc(against: str, signal: Array, other: Array, m: int = 120) -> Roc:
    threshold = np.quantile(signal, np.linspace(1, 0, m))
    efficiency = np.array([(signal > t).mean() for t in threshold])
    misid = np.array([(other > t).mean() for t in threshold])
    bounds = [
        np.array([measured(v, len(s))[1:3] for v in values]) for values, s in ((efficiency, signal), (misid, other))
    ]
    order = np.searchsorted(np.sort(other), signal)
    auc = measured(float(order.mean() / len(other)), len(signal))
    return Roc(
        against, threshold, efficiency, bounds[0][:, 0], bounds[0][:, 1],
        misid, np.maximum(bounds[1][:, 0], 0), bounds[1][:, 1], auc,
    )  # fmt: skip


def working_point(name: str, target: float, threshold: float, by_class: dict[str, Array], signal: str) -> WorkingPoint:
    passing = {c: measured(float((s > threshold).mean()), len(s)) for c, s in by_class.items()}
    misid = {c: m for c, m in passing.items() if c != signal}
    rejection = {c: inverse(m) for c, m in misid.items()}
    return WorkingPoint(name, target, threshold, passing[signal], misid, rejection, measured(0.93, 4000))


def efficiency_map(
    point: WorkingPoint, particle: str, names: tuple[str, ...], rng: np.random.Generator
) -> EfficiencyMap:
    edges = (np.array([2.0, 3, 4.5, 6, 8, 10]), np.array([-0.06, -0.02, 0.02, 0.06]))[: len(names)]
    shape = tuple(len(e) - 1 for e in edges)
    total = rng.poisson(300, shape).astype(np.float64)
    total.flat[-1] = 0
    share = point.efficiency.value if particle not in point.misid else point.misid[particle].value
    passed = rng.binomial(total.astype(int), share).astype(np.float64)
    value = np.divide(passed, total, out=np.full(shape, np.nan), where=total > 0)
    error = np.sqrt(np.maximum(value * (1 - value), 1e-3) / np.where(total > 0, total, np.nan))
    return EfficiencyMap(
        point.name, particle, names, edges, passed, total, passed, total,
        value, np.maximum(value - error, 0), np.minimum(value + 1.1 * error, 1), total,
    )  # fmt: skip


def metrics(by_class: dict[str, Array], auc: Measured) -> SampleMetrics:
    decided = np.array(
        [np.histogram(s, np.linspace(0, 1, len(by_class) + 1))[0] for s in by_class.values()], dtype=float
    )
    confusion = decided[:, ::-1]
    accuracy = measured(float(np.trace(confusion) / confusion.sum()), confusion.sum())
    return SampleMetrics(auc, accuracy, accuracy, measured(0.71, 900), 0.5, tuple(by_class), confusion)


def curve_model(
    rng: np.random.Generator, name: str, kind: str, classes: tuple[str, ...], strength: float
) -> ModelResult:
    signal, others = classes[0], classes[1:]
    test, train = scores(rng, classes, 4000, strength), scores(rng, classes, 8000, 1.03 * strength)
    curves = {c: roc(c, test[signal], test[c]) for c in others}
    if len(others) > 1:
        curves["rest"] = roc("rest", test[signal], np.concatenate([test[c] for c in others]))
    points = tuple(
        working_point(f"eff{100 * t:.0f}", t, float(np.quantile(test[signal], 1 - t)), test, signal) for t in TARGETS
    )
    auc = next(reversed(curves.values())).auc
    edges = np.linspace(0, 1, 41)
    epochs = np.arange(1, 26)
    history = {
        "loss": list(0.6 * np.exp(-epochs / 6) + 0.10), "validation_loss": list(0.6 * np.exp(-epochs / 6) + 0.12),
        "validation_auc": list(auc.value - 0.1 * np.exp(-epochs / 4)),
    }  # fmt: skip
    maps = [
        efficiency_map(point, c, names, rng)
        for names in (("P.gtr.p",), ("P.gtr.p", "P.gtr.th"))
        for point in points
        for c in classes
    ]
    return ModelResult(
        name, kind, False, {"train": metrics(train, auc), "test": metrics(test, auc)}, points,
        {s: {c: histogram(v, edges) for c, v in by.items()} for s, by in (("train", train), ("test", test))},
        curves, tuple(maps), Overtraining(dict.fromkeys(classes, 0.31), Measured(0.0011, 0.0003, 0.0019, 4000)),
        Training(12.3, 25, history if kind in ("mlp", "bdt") else {}),
        cut_string="P.cal.etottracknorm > 0.71 && log_npe > 1.2" if kind == "cuts" else "",
        note="Stopped early <after> 25 epochs." if kind == "mlp" else "",
    )  # fmt: skip


def hand_model(rng: np.random.Generator, classes: tuple[str, ...]) -> ModelResult:
    test = scores(rng, classes, 4000, 1.0)
    point = working_point("cut", float("nan"), 0.5, test, classes[0])
    return ModelResult(
        "hand", "expression", True, {"test": metrics(test, UNDEFINED)}, (point,), {}, {}, (), None, None,
        cut_string="P.cal.etottracknorm > 0.75",
    )  # fmt: skip


def comparisons(models: Sequence[ModelResult], others: Sequence[str]) -> tuple[Comparison, ...]:
    return tuple(_compared(a, b, others) for i, a in enumerate(models) for b in models[i + 1 :])


def _around(value: float) -> Measured:
    return Measured(value, value - 0.004, value + 0.003, 4000)


def _compared(a: ModelResult, b: ModelResult, others: Sequence[str]) -> Comparison:
    points = [
        PairedPoint(
            p.name, c, p.efficiency.value, _around(q.misid[c].value - p.misid[c].value),
            Measured(2.1, 1.9, 2.4, 4000), f"at the efficiency of {a.name} {b.name} lets through fewer {c}",
        )
        for p, q in zip(a.working_points, b.working_points, strict=False)
        for c in others
    ]  # fmt: skip
    if a.fixed_cut:
        return Comparison(a.name, b.name, UNDEFINED, tuple(points[: len(others)]))
    d = b.samples["test"].auc.value - a.samples["test"].auc.value
    return Comparison(a.name, b.name, Measured(d, d - 0.0012, d + 0.0010, 8000), tuple(points))


def robustness(model: ModelResult, others: Sequence[str]) -> RobustnessResult:
    auc = model.samples["test"].auc
    loss = {feature: 0.06 / (i + 1) for i, feature in enumerate(FEATURES)} | {"all": 0.08}
    neutral = {"scale": 1.0}
    tried = [(c, f, s, abs(s - neutral.get(c, 0)) * 5) for c, sizes in CHANGES.items() for f in loss for s in sizes]
    tried += [("drop", f, 1.0, 1.0) for f in FEATURES]
    points = tuple(
        RobustnessPoint(
            c, f, s, Measured(v := auc.value - loss[f] * x, v - 0.002, v + 0.0015, auc.n),
            measured(0.93, 4000), {o: measured(0.02, 4000) for o in others},
        )
        for c, f, s, x in tried
    )  # fmt: skip
    return RobustnessResult(points, {"smear all": 0.02, "shift all": None, "drop log_npe": 1.0})


def example(
    classes: tuple[str, ...] = ("electron", "pion"), kinds: Sequence[str] = ("cuts", "mlp"), seed: int = 1
) -> Results:
    """`hand` and one curve model a kind; the first class is the signal."""
    rng = np.random.default_rng(seed)
    curves = [curve_model(rng, kind, kind, classes, 1.1 + 0.25 * i) for i, kind in enumerate(kinds)]
    models = [hand_model(rng, classes), *curves]
    values = {f: {c: rng.normal(i, 1 + 0.3 * j, 4000) for j, c in enumerate(classes)} for i, f in enumerate(FEATURES)}
    noise = rng.normal(size=(len(FEATURES), 500))
    matrix = np.corrcoef(noise + 0.7 * noise[::-1])
    steps = [
        CutStep(f"step {i} <{i}", dict.fromkeys(classes, 4000 // i), dict.fromkeys(classes, 1.0)) for i in (1, 2, 3)
    ]
    return Results(
        classes[0], classes, FEATURES,
        {s: dict.fromkeys(classes, n) for s, n in (("train", 8000), ("validation", 1500), ("test", 4000))},
        tuple(steps), {m.name: m for m in models}, comparisons(models, classes[1:]),
        {m.name: robustness(m, classes[1:]) for m in curves},
        {f: {c: histogram(v, np.linspace(-4, 6, 41)) for c, v in by.items()} for f, by in values.items()},
        dict.fromkeys(classes, matrix), ("Purity is at the abundances of the sample.",),
    )  # fmt: skip
