"""The findings of paired comparisons in sentences, with a correction for the number of comparisons.

Each interval is that of its own comparison alone. Whether a sentence names a winner is decided for all comparisons
together, by Holm's procedure (S. Holm, Scand. J. Stat. 6 (1979) 65). If no model is better than another, at most one
run in twenty names any winner, for any number of models, working points and classes, and for any dependence of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from pidlab.evaluate.intervals import deviations, symmetric
from pidlab.evaluate.results import Comparison, PairedPoint
from pidlab.measured import Measured, format_alike, format_factor, format_interval, format_share

WIDE = 0.95
ERROR = 1 - WIDE
"""The probability of any false winner among all comparisons that are judged together."""
_Z95 = deviations(WIDE)
_UNKNOWN = 100.0
"""A bound that differs from a ratio by more than this factor is not printed, since it does not restrict the ratio."""
_ALIKE = "as many"


@dataclass(frozen=True, slots=True)
class Finding:
    """Two decisions, a and b, on the candidates of one class.

    Attributes:
        names: the names of the models a and b.
        point: the working point's name.
        particle: the class that should not pass.
        efficiency: the signal efficiency of both.
        fixed: whether each is a fixed cut, which has no threshold.
        alike: the two models give every candidate the same score.
        misid, wide: the misidentification by each, with its unpaired 68.3 % and 95 % bounds.
        deviation: standard deviation of the difference b - a.
        log_deviation: standard deviation of the log of the ratio a / b; NaN if a rate is not positive.
        student: factor on the deviation for the p-value and the 95 % interval, because few events determine it.
        attained: the signal efficiency on test of each model's working point; NaN if it is not known.
        exact: True if the decisions are moved to exactly `efficiency` for the comparison; False for flat points.
    """

    names: tuple[str, str]
    point: str
    particle: str
    efficiency: float
    fixed: tuple[bool, bool]
    alike: bool
    misid: tuple[Measured, Measured]
    wide: tuple[Measured, Measured]
    deviation: float
    log_deviation: float
    student: float = 1.0
    attained: tuple[float, float] = (math.nan, math.nan)
    exact: bool = True

    @property
    def delta(self) -> float:
        """Returns the misidentification by b minus that by a."""
        return self.misid[1].value - self.misid[0].value

    @property
    def delta_misid(self) -> Measured:
        """Returns `delta` with its 68.3 % interval."""
        return symmetric(self.delta, self.deviation, self.misid[0].n)

    def ratio(self, *, wide: bool) -> Measured:
        """Returns the misidentification by a over that by b: log-normal, or from unpaired bounds if a rate is 0."""
        if self.alike:
            return Measured(1.0, 1.0, 1.0, self.misid[0].n)
        a, b = self.wide if wide else self.misid
        if not math.isnan(self.log_deviation):
            factor = math.exp(min((_Z95 if wide else 1.0) * self.log_deviation, 700.0))
            return Measured(a.value / b.value, a.value / b.value / factor, a.value / b.value * factor, a.n)
        return Measured(_quotient(a.value, b.value), _quotient(a.low, b.high), _quotient(a.high, b.low), a.n)

    @property
    def p(self) -> float:
        """Returns the two-sided p-value of no difference; NaN for two fixed cuts, which have different efficiencies."""
        if all(self.fixed) or self.alike:
            return math.nan
        if self.fixed[0] and not math.isnan(self.log_deviation):
            return p_value(math.log(self.misid[0].value / self.misid[1].value), self.log_deviation)
        return p_value(self.delta, self.student * self.deviation)

    @property
    def wide_delta(self) -> tuple[float, float]:
        """Returns the bounds of the 95 % interval of `delta`."""
        wide = _Z95 * self.student * self.deviation
        return self.delta - wide, self.delta + wide

    def winner(self, verdict: Judged) -> str | None:
        """Returns the name of the better model, "" if no difference is shown, None if nothing can be compared."""
        a, b = self.names
        if all(self.fixed) or (self.fixed[0] and math.isnan(self.efficiency)):
            return None
        if self.alike or not verdict.significant:
            return ""
        if self.fixed[0]:
            ratio = self.ratio(wide=True)
            return b if ratio.low > 1 else a if ratio.high < 1 else ""
        low, high = self.wide_delta
        return b if high < 0 else a if low > 0 else ""


@dataclass(frozen=True, slots=True)
class Differences:
    """The findings of the comparison of two models, a and b, at all their working points."""

    a: str
    b: str
    delta_auc: Measured
    findings: tuple[Finding, ...]

    @property
    def auc_p(self) -> float:
        """Returns the two-sided p-value of equal AUCs; NaN if a model has none, or if the models score alike."""
        return measured_p(self.delta_auc)


@dataclass(frozen=True, slots=True)
class Judged:
    """A p-value with Holm's correction for the n comparisons that are judged together."""

    p: float
    adjusted: float
    n: int

    @property
    def significant(self) -> bool:
        """Returns True if the difference counts as shown."""
        return self.adjusted <= ERROR

    def phrase(self, start: str) -> str:
        """Returns `start` and the corrected p-value in words, or nothing if there is only one comparison."""
        return f"{start}{corrected(self.adjusted, self.n)}" if self.n > 1 else ""


def corrected(adjusted: float, n: int) -> str:
    """Returns a p-value and the number of comparisons that it is corrected for, in words."""
    return f"{format_p(adjusted)}{_correction(n)}"


def format_p(p: float) -> str:
    """Returns a p-value in words, as in "p = 0.03"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _correction(n: int) -> str:
    return f" after Holm's correction for {n} comparisons"


def among_others(verdict: str, n: int) -> str:
    """Returns a sentence without the words on the correction for n comparisons, for a place that says them once."""
    return verdict.replace(_correction(n), "")


def p_value(difference: float, deviation: float) -> float:
    """Returns the two-sided p-value of a normally distributed difference; NaN if it is NaN or has no deviation."""
    if math.isnan(difference) or not deviation > 0:
        return math.nan
    return float(2 * special.ndtr(-abs(difference) / deviation))


def measured_p(difference: Measured) -> float:
    """Returns the `p_value` of a difference whose standard deviation is half the length of its 68.3 % interval."""
    return p_value(difference.value, (difference.high - difference.low) / 2)


def holm(p: Sequence[float]) -> list[float]:
    """Returns the p-values corrected for their number, in the order of `p`; NaN stays NaN and is not counted.

    S. Holm, Scand. J. Stat. 6 (1979) 65: the smallest is multiplied by their number n, the next by n - 1, and so on,
    and none becomes smaller than one before it. The correction is valid for any dependence of the comparisons.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    adjusted = np.full(len(values), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def judged_by(p: Sequence[float]) -> list[Judged]:
    """Returns p-values that are one family for Holm's procedure, each with its correction."""
    n = int(np.isfinite(p).sum())
    return [Judged(each, adjusted, n) for each, adjusted in zip(p, holm(p), strict=True)]


def judged(found: Sequence[Differences]) -> tuple[Comparison, ...]:
    """Returns the comparisons with their sentences; all p-values in `found` are one family for Holm's procedure."""
    verdicts = iter(judged_by([p for pair in found for p in (pair.auc_p, *(finding.p for finding in pair.findings))]))
    comparisons = []
    for pair in found:
        area = next(verdicts)
        points = tuple(_paired_point(finding, next(verdicts)) for finding in pair.findings)
        comparisons.append(Comparison(pair.a, pair.b, pair.delta_auc, points, area.p, area.adjusted, area.n))
    return tuple(comparisons)


def _paired_point(f: Finding, verdict: Judged) -> PairedPoint:
    measured = f.delta_misid, f.ratio(wide=False)
    found = PairedPoint(f.point, f.particle, f.efficiency, *measured, sentence(f, verdict), verdict.p, verdict.adjusted)
    return replace(found, winner=f.winner(verdict))


def _quotient(above: float, below: float) -> float:
    """Returns above / below of rates, in which a rate that is not positive counts as zero; 0 / 0 is NaN."""
    if above <= 0 and below <= 0:
        return math.nan
    return max(above, 0.0) / below if below > 0 else math.inf


def sentence(finding: Finding, verdict: Judged | None = None) -> str:
    """Returns the finding with its own 95 % interval; rates and differences are in per cent of the class's candidates.

    Without a verdict, the comparison is taken to be the only one.
    """
    verdict = verdict or Judged(finding.p, finding.p, 1)
    if all(finding.fixed):
        (a, b), (rate_a, rate_b) = (
            finding.names,
            (f"{format_interval(100 * rate.value, 100 * rate.low, 100 * rate.high)} %" for rate in finding.wide),
        )
        return (
            f"{a} and {b} are cuts as they are, at efficiencies of their own: misid of {finding.particle} "
            f"{rate_a} with {a}, {rate_b} with {b}, 95 % intervals"
        )
    return _at_cut(finding, verdict) if finding.fixed[0] else _at_point(finding, verdict)


def _at_point(finding: Finding, verdict: Judged) -> str:
    a, b = finding.names
    if finding.alike:
        return f"no difference shown: {a} and {b} decide alike at {finding.point}"
    low, high = finding.wide_delta
    wide = (high - low) / 2
    rates = (finding.misid[0].value, finding.misid[1].value)
    where = f"{finding.point}{_attained(finding)}"
    if low <= -1 and high >= 1:  # no difference of two fractions is excluded
        what = f"the difference in misid of {finding.particle} at {where} between {a} and {b}"
        return f"no difference shown: {_undetermined(finding, what)}"
    winner = finding.winner(verdict)
    if not winner:
        however = "" if low <= 0 <= high else verdict.phrase(", but ")
        rate_a, rate_b, least, most = _percents((*rates, low, high), wide)
        return (
            f"no difference shown: misid of {finding.particle} at {where} is {rate_b} % with {b} "
            f"and {rate_a} % with {a}, 95 % interval of the difference {least} to {most} %{however}"
        )
    loser = a if winner == b else b
    nearer, further = sorted((abs(low), abs(high)))
    percents = _percents((abs(finding.delta), nearer, further, min(rates), max(rates)), wide)
    return (
        f"{winner} beats {loser} at {where}: misid of {finding.particle} {percents[0]} % lower, 95 % interval "
        f"{percents[1]} to {percents[2]} % ({percents[3]} % against {percents[4]} %){verdict.phrase(', ')}"
    )


def _attained(finding: Finding) -> str:
    """Returns the efficiencies that a working point has on test, in brackets; nothing if they are not known."""
    if any(math.isnan(efficiency) for efficiency in finding.attained):
        return ""
    a, b = (
        f"{format_share(efficiency)} % with {name}"
        for efficiency, name in zip(finding.attained, finding.names, strict=True)
    )
    compared = f"compared at {100 * finding.efficiency:g} %, " if finding.exact else ""
    return f" ({compared}on test it has {a}, {b})"


def _at_cut(finding: Finding, verdict: Judged) -> str:
    a, b = finding.names
    if math.isnan(finding.efficiency):
        return f"no difference shown: the efficiency of {a} is not known, since the signal of test has no weight"
    where = f"at the efficiency of {a} ({format_share(finding.efficiency)} %),"
    if finding.alike:
        return f"no difference shown: {where} {a} and {b} decide alike"
    ratio = finding.ratio(wide=True)
    if math.isnan(ratio.value):
        return f"no difference shown: {where} {b} lets through no {finding.particle} and neither does {a}"
    found = _times(finding, ratio)
    if found is None:
        what = _undetermined(finding, f"how much less or more {b} lets through than {a}")
        return f"no difference shown: {where} {what}"
    if finding.winner(verdict):
        return f"{where} {found}{verdict.phrase(', ')}"
    however = "" if ratio.low <= 1 <= ratio.high else verdict.phrase(", but ")
    return f"no difference shown: {where} {found}{however}"


def _undetermined(finding: Finding, what: str) -> str:
    """Returns that the events of test do not determine a number, in words."""
    return f"{what} is not determined by the {finding.particle} of test (effectively {finding.misid[0].n:.3g})"


def _times(finding: Finding, ratio: Measured) -> str | None:
    """Returns how many times fewer or more b lets through than a, in words; None if no bound restricts the ratio.

    `ratio` is misid(a) / misid(b) with its 95 % interval. No number in the sentence is below 1.
    """
    b, particle = finding.names[1], finding.particle
    value, low, high = ratio[:3]
    open_below = not low > 1 and not low * _UNKNOWN >= min(value, high)
    open_above = not high < 1 and not high <= max(value, low) * _UNKNOWN
    if math.isinf(value):
        limit = None if not low > 1 / _UNKNOWN else f"{_none_of(finding, 1)}: {_bound(low, fewer=True)}, 95 %"
    elif value == 0:
        limit = (
            None if high > _UNKNOWN else f"{_none_of(finding, 0)}: {b} lets {_bound(high, fewer=False)} through, 95 %"
        )
    elif open_below and open_above:
        limit = None
    elif open_above:
        limit = f"{b} lets through {_bound(low, fewer=True)} {particle}, 95 %"
    elif open_below:
        limit = f"{b} lets through {_bound(high, fewer=False)} {particle}, 95 %"
    elif low > 1:
        limit = f"{b} lets through {_factors(value, low, high)} times fewer {particle}, 95 % interval"
    elif high < 1:
        limit = f"{b} lets through {_factors(1 / value, 1 / high, 1 / low)} times more {particle}, 95 % interval"
    else:
        limit = f"{b} lets through {_side(value)} {particle}, 95 % interval {_side(low)} to {_side(high)}"
    return limit


def _factors(value: float, low: float, high: float) -> str:
    """Returns a factor and its bounds; each with its own digits if they are so far apart that the lower would be 0."""
    if high > 10 * low:
        return f"{format_factor(value)} [{format_factor(low)}, {format_factor(high)}]"
    return format_interval(value, low, high)


def _none_of(finding: Finding, which: int) -> str:
    """Returns that no candidate of the class passed a model, or none in the sum of weights of both signs."""
    name = finding.names[which]
    if finding.misid[which].value == 0:
        return f"no {finding.particle} passed {name}"
    return f"the weights of the {finding.particle} that pass {name} have no positive sum"


def _bound(ratio: float, *, fewer: bool) -> str:
    """Returns a limit on a ratio in words: it is at least (`fewer`) or at most `ratio` times fewer."""
    if ratio in (0.0, math.inf):  # weights of both signs: a rate that is negative together with its upper bound
        return "fewer" if ratio else "more"
    side = _side(ratio)
    if side == _ALIKE:
        return f"at most {side}" if fewer else f"at least {side}"
    return f"at least {side}" if (ratio > 1) == fewer else f"at most {side}"


def _side(ratio: float) -> str:
    """Returns how many times fewer (a ratio above 1) or more (below 1), in words."""
    shown = format_factor(max(ratio, 1 / ratio))
    return _ALIKE if shown == "1" else f"{shown} times {'fewer' if ratio > 1 else 'more'}"


def _percents(fractions: tuple[float, ...], error: float) -> list[str]:
    """Returns fractions in per cent, all with the decimal places that the error supports."""
    return format_alike(tuple(100 * fraction for fraction in fractions), 100 * error)
