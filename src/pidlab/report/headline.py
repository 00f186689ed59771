"""The headline: which model separates best, as far as the comparisons show it, and what warns of the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pidlab.evaluate.results import Comparison, ModelResult, PairedPoint, Results
from pidlab.evaluate.verdicts import ERROR, corrected, p_value
from pidlab.measured import Measured, format_measured
from pidlab.report.tables import auc_winner, error_towards_zero, first_of, listed, point_winner

FEW_OF_CLASS = 100.0
"""Effective events of a class on test below which the interval of a rate of one half is wider than ± 5 %."""
FEW_PASSING = 10.0
"""Effective events that pass below which the interval of a misidentification is wider than a third of it."""


def best_model(results: Results) -> str:
    """Returns the model that no comparison contradicts to be the best; empty if there is none.

    Its AUC is larger than that of every other model by what the comparisons show, and no model beats it at a point.
    """
    leaders = level_with_the_first(results)
    if len(leaders) != 1 or _losses(results, leaders) or not _compared_with_all(results, leaders[0]):
        return ""
    return leaders[0]


def level_with_the_first(results: Results) -> list[str]:
    """Returns the model of largest AUC on test, and those whose AUC is not shown to be smaller, in falling order."""
    ranked = [model.name for model in results.ranked]
    found = {frozenset((c.a, c.b)): auc_winner(c) for c in results.comparisons}
    return [name for i, name in enumerate(ranked) if i == 0 or found.get(frozenset((ranked[0], name))) == ""]


def headline(results: Results) -> str:
    """Returns sentences on the model of largest AUC on test, as far as the comparisons show it to be the best."""
    ranked = results.ranked
    if not ranked:
        return "No model here has a curve, so none can be called best."
    first, leaders = ranked[0], level_with_the_first(results)
    area = f"AUC {format_measured(first.samples['test'].auc)} on test"
    if len(ranked) == 1:
        separates = "separates" if _is_above_chance(first) else "is not shown to separate"
        return f"{first.name} {separates} {results.signal}: {area}. No other model has an AUC to compare with."
    losses = _losses(results, leaders)
    if len(leaders) > 1:
        shown = ", ".join(f"{name} {format_measured(results.models[name].samples['test'].auc)}" for name in leaders)
        sentence = f"{listed(leaders)} are level in AUC on test ({shown}); none is shown to be the best."
    elif losses or not _compared_with_all(results, first.name):
        sentence = f"{first.name} has the largest {area}{', but is not the best everywhere' if losses else ''}."
    else:
        sentence = f"{first.name} separates {results.signal} best: {area}."
    but = f" {_told(losses, several=len(results.classes) > 2)}" if losses else ""
    return f"{sentence}{but} {_lead(results.comparisons, first.name, ranked[1].name)}"


def _is_above_chance(model: ModelResult) -> bool:
    """Returns whether the AUC on test is more than two errors above 0.5, that of scores that know nothing."""
    value, low, *_ = model.samples["test"].auc
    return value - 2 * (value - low) > 0.5


def _compared_with_all(results: Results, best: str) -> bool:
    """Returns True if the best model's AUC was compared with that of every other model that has one."""
    found = {frozenset((c.a, c.b)) for c in results.comparisons if auc_winner(c) is not None}
    return all(frozenset((best, m.name)) in found for m in results.ranked if m.name != best)


def _losses(results: Results, leaders: Sequence[str]) -> list[tuple[str, str, PairedPoint]]:
    """Returns where a leader is beaten at a working point: winner, leader, point."""
    found = []
    for pair in results.comparisons:
        for point in pair.working_points:
            winner = point_winner(pair, point)
            loser = pair.a if winner == pair.b else pair.b
            if winner and loser in leaders:
                found.append((winner, loser, point))
    return found


def _told(losses: Sequence[tuple[str, str, PairedPoint]], *, several: bool) -> str:
    """Returns a sentence on the working points at which a leader is beaten; `several` classes are named."""
    where: dict[tuple[str, str], list[str]] = {}
    for winner, loser, point in losses:
        where.setdefault((winner, loser), []).append(f"{point.name} ({point.particle})" if several else point.name)
    return first_of([f"{winner} beats {loser} at {listed(points)}" for (winner, loser), points in where.items()])


def _lead(comparisons: Sequence[Comparison], best: str, second: str) -> str:
    """Returns a sentence on the lead of the best model, which holds for these two trainings, not for other seeds."""
    found = next((c for c in comparisons if {c.a, c.b} == {best, second}), None)
    if found is None or not math.isfinite(found.delta_auc.value):
        return f"Its lead over {second} was not compared event by event."
    value, low, high, n = found.delta_auc
    lead = found.delta_auc if found.b == best else Measured(-value, -high, -low, n)
    error = error_towards_zero(lead)
    lead_text = (
        f"Of these two trainings: the lead of {best} over {second}, ΔAUC = {format_measured(lead)} on the same events,"
    )
    if not error > 0:
        return f"{lead_text} has no interval."
    p, said = p_value(lead.value, error), f"{lead.value / error:.1f} standard errors"
    if math.isfinite(found.auc_p_adjusted) and found.n_comparisons > 1:
        p, said = found.auc_p_adjusted, f"{said}, {corrected(found.auc_p_adjusted, found.n_comparisons)}"
    found_to_be = "is significant" if auc_winner(found) and p <= ERROR else "is not significant"
    return f"{lead_text} {found_to_be} ({said})."


def below_chance(results: Results) -> Iterator[str]:
    """Yields a sentence for each model whose AUC lies below .5 by more than its interval, with the likely reason."""
    for model in results.ranked:
        area = model.samples["test"].auc
        if not area.high < 0.5:
            continue
        yield (
            f"{model.name} ranks {results.signal} below the others (AUC {format_measured(area)}, and .5 is chance): "
            f"{_WHY_BELOW.get(model.kind, _TRAINED_BELOW)}."
        )


_WHY_BELOW = {
    "score": "larger values of its expression should be more like the signal; write a minus sign before it, or "
    "exchange the signal and the other class",
    "mixture": "the signal is not what is rare (or typical, with `train_on`); train it on the other class",
    "autoencoder": "the signal is not what is hard to give back (or easy, with `train_on`); train it on the other "
    "class",
} | dict.fromkeys(
    ("onnx", "sklearn", "tmva"),
    "the classes seem to be exchanged between its training and this configuration; look at the order of its outputs "
    "(`classes`), or at `signal`",
)
_TRAINED_BELOW = (
    "it learned the opposite of what the test sample shows; look whether the classes are exchanged in a part of the "
    "files or in the declared test sample (split.test)"
)


def training_faults(results: Results) -> Iterator[str]:
    """Yields a sentence for each fault of a training, such as dead units, with what to change."""
    for model in results.models.values():
        if model.training is not None:
            yield from (f"{model.name}: {warning}" for warning in model.training.warnings)


def few_events(results: Results) -> Iterator[str]:
    """Yields sentences on classes of test with few effective events, and on rates that few of them determine."""
    effective = _effective(results)
    few = [f"{n:,.0f} {name}" for name, n in effective.items() if n < FEW_OF_CLASS]
    if few:
        yield f"Only {listed(few)} events of test (effectively): all that is said of them has wide intervals."
    passing: dict[str, list[str]] = {}
    for particle in results.classes:
        if effective.get(particle, 0.0) < FEW_OF_CLASS:
            continue
        models: dict[str, list[str]] = {}
        for model in results.models.values():
            for point in model.working_points:
                rate = point.misid.get(particle)
                if rate is not None and point.flat is None and rate.value * rate.n < FEW_PASSING:
                    models.setdefault(point.name, []).append(model.name)
        where = [f"{name} ({', '.join(of)})" for name, of in models.items()]
        if where:
            passing.setdefault(listed(where), []).append(particle)
    told = [f"{particle} events of test (effectively) pass {where}" for where, of in passing.items() for particle in of]
    if len(told) == 1:
        yield f"Fewer than {FEW_PASSING:.0f} {told[0]}: these rates are known to a third at best."
    elif told:
        some = "; ".join(f"of {listed(of)} at {points}" for points, of in passing.items())
        yield (
            f"Fewer than {FEW_PASSING:.0f} events of a class of test (effectively) pass some points, {some}: these "
            "rates are known to a third at best."
        )


def _effective(results: Results) -> dict[str, float]:
    """Returns the effective number of events of each class on test; older results have the number of candidates."""
    for model in results.models.values():
        if "test" in model.samples and model.samples["test"].n_by_class:
            known = model.samples["test"].n_by_class
            return {name: known.get(name, 0.0) for name in results.classes}
    return {name: float(n) for name, n in results.n.get("test", {}).items()}
