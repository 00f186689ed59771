"""What paired comparisons found, and the sentences that say it, corrected for how many there are.

Each interval is of its own comparison alone. Whether a sentence names a winner is decided for all comparisons together,
by Holm's procedure (S. Holm, Scand. J. Stat. 6 (1979) 65): where no model is better than another, one run in twenty
names a winner at all, whatever the number of models, working points and classes, and however they depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from pidlab.evaluate.intervals import deviations
from pidlab.evaluate.results import Comparison, PairedPoint
from pidlab.measured import Measured
from pidlab.rounding import format_alike, format_interval, format_number

WIDE = 0.95
ERROR = 1 - WIDE
"""The chance of any false winner among all comparisons that are judged together."""
_Z95 = deviations(WIDE)
_UNKNOWN = 100.0
"""A bound that is so many times away from a ratio says nothing of it: 0 and 137000000000 are no numbers to print."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Two decisions, a and b, on the candidates of one class.

    Attributes:
        names: of the models a and b.
        point: the working point's name.
        particle: the class that should not pass.
        efficiency: the signal efficiency of both.
        fixed: for each, whether it is somebody's cuts, which no threshold moves.
        alike: the two models score every candidate the same.
        misid, wide: for each, the misidentification with its unpaired 68.3 % and 95 % bounds.
        deviation: standard deviation of the difference b - a.
        log_deviation: standard deviation of the log of the ratio a / b; NaN where a rate is not positive.
        student: how much larger the deviation counts for the p-value and the 95 % interval, where few events show it.
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

    @property
    def delta(self) -> float:
        """Misidentification of b minus that of a."""
        return self.misid[1].value - self.misid[0].value

    @property
    def delta_misid(self) -> Measured:
        """`delta` with its 68.3 % interval."""
        return Measured(self.delta, self.delta - self.deviation, self.delta + self.deviation, self.misid[0].n)

    def ratio(self, *, wide: bool) -> Measured:
        """Misidentification of a over that of b: log-normal, or from unpaired bounds where a rate is not positive."""
        if self.alike:
            return Measured(1.0, 1.0, 1.0, self.misid[0].n)
        a, b = self.wide if wide else self.misid
        if not math.isnan(self.log_deviation):
            factor = math.exp(min((_Z95 if wide else 1.0) * self.log_deviation, 700.0))
            return Measured(a.value / b.value, a.value / b.value / factor, a.value / b.value * factor, a.n)
        return Measured(_quotient(a.value, b.value), _quotient(a.low, b.high), _quotient(a.high, b.low), a.n)

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference; NaN where nothing is compared: cuts at efficiencies of their own."""
        if all(self.fixed) or self.alike:
            return math.nan
        if self.fixed[0] and not math.isnan(self.log_deviation):
            return p_value(math.log(self.misid[0].value / self.misid[1].value), self.log_deviation)
        return p_value(self.delta, self.student * self.deviation)


@dataclass(frozen=True, slots=True)
class Differences:
    """What the comparison of two models, a and b, found at all their working points, before it is judged."""

    a: str
    b: str
    delta_auc: Measured
    findings: tuple[Finding, ...]

    @property
    def auc_p(self) -> float:
        """Two-sided p-value of equal areas; NaN where there is none, or where the models score alike."""
        return measured_p(self.delta_auc)


@dataclass(frozen=True, slots=True)
class Judged:
    """A p-value among all that are judged together: corrected for their number, by Holm."""

    p: float
    adjusted: float
    n: int

    @property
    def decided(self) -> bool:
        """Whether the difference counts as shown."""
        return self.adjusted <= ERROR

    @property
    def said(self) -> str:
        """The p-value in words; nothing where there is one comparison only."""
        return corrected(self.adjusted, self.n) if self.n > 1 else ""


def corrected(adjusted: float, n: int) -> str:
    """A p-value with what it was corrected for."""
    shown = "p < 0.0001" if adjusted < 0.0001 else f"p = {adjusted:.2g}"
    return f"{shown} after Holm's correction for {n} comparisons"


def p_value(difference: float, deviation: float) -> float:
    """Two-sided p-value of a difference that fluctuates normally; NaN where it cannot fluctuate or is unknown."""
    if math.isnan(difference) or not deviation > 0:
        return math.nan
    return float(2 * special.ndtr(-abs(difference) / deviation))


def measured_p(difference: Measured) -> float:
    """`p_value` of a difference with its 68.3 % interval: half of its length is the standard deviation."""
    return p_value(difference.value, (difference.high - difference.low) / 2)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order of `p`; what is NaN stays so, and does not count.

    S. Holm, Scand. J. Stat. 6 (1979) 65: the smallest is multiplied by their number n, the next by n - 1, and so on,
    and none becomes smaller than one before it. It holds however the comparisons depend on each other.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    adjusted = np.full(len(values), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def judged(found: Sequence[Differences]) -> tuple[Comparison, ...]:
    """The comparisons with their sentences: everything in `found` is one family for Holm's procedure."""
    values = [p for pair in found for p in (pair.auc_p, *(finding.p for finding in pair.findings))]
    n = int(np.isfinite(values).sum())
    verdicts = (Judged(p, adjusted, n) for p, adjusted in zip(values, holm(values), strict=True))
    return tuple(_comparison(pair, verdicts) for pair in found)


def _comparison(pair: Differences, verdicts: Iterator[Judged]) -> Comparison:
    """One comparison; takes the verdicts on its area and on each of its findings, in this order."""
    area = next(verdicts)
    points = tuple(_paired_point(finding, next(verdicts)) for finding in pair.findings)
    return Comparison(pair.a, pair.b, pair.delta_auc, points, area.p, area.adjusted, area.n)


def _paired_point(finding: Finding, verdict: Judged) -> PairedPoint:
    return PairedPoint(
        finding.point,
        finding.particle,
        finding.efficiency,
        finding.delta_misid,
        finding.ratio(wide=False),
        sentence(finding, verdict),
        verdict.p,
        verdict.adjusted,
    )


def _quotient(above: float, below: float) -> float:
    """above / below of rates, where a rate that is not positive counts as zero; 0 / 0 is unknown."""
    if above <= 0 and below <= 0:
        return math.nan
    return max(above, 0.0) / below if below > 0 else math.inf


def sentence(finding: Finding, verdict: Judged | None = None) -> str:
    """The finding with its own 95 % interval; rates and their differences are in per cent of the class's candidates.

    Without a verdict it is the only comparison that is made.
    """
    verdict = verdict or Judged(finding.p, finding.p, 1)
    if all(finding.fixed):
        return _two_cuts(finding)
    return _at_cuts(finding, verdict) if finding.fixed[0] else _at_point(finding, verdict)


def _at_point(finding: Finding, verdict: Judged) -> str:
    a, b = finding.names
    if finding.alike:
        return f"no difference shown: {a} and {b} decide alike at {finding.point}"
    wide = _Z95 * finding.student * finding.deviation
    low, high = finding.delta - wide, finding.delta + wide
    rates = (finding.misid[0].value, finding.misid[1].value)
    if low <= -1 and high >= 1:  # no difference of two fractions is excluded
        what = f"the difference in misid of {finding.particle} at {finding.point} between {a} and {b}"
        return f"no difference shown: {_undetermined(finding, what)}"
    if low <= 0 <= high or not verdict.decided:
        however = "" if low <= 0 <= high else f", but {verdict.said}"
        rate_a, rate_b, least, most = _percents((*rates, low, high), wide)
        return (
            f"no difference shown: misid of {finding.particle} at {finding.point} is {rate_b} % with {b} "
            f"and {rate_a} % with {a}, 95 % interval of the difference {least} to {most} %{however}"
        )
    winner, loser = (b, a) if finding.delta < 0 else (a, b)
    nearer, further = sorted((abs(low), abs(high)))
    told = _percents((abs(finding.delta), nearer, further, min(rates), max(rates)), wide)
    return (
        f"{winner} beats {loser} at {finding.point}: misid of {finding.particle} "
        f"{told[0]} % lower, 95 % interval {told[1]} to {told[2]} % ({told[3]} % against {told[4]} %)"
        f"{_also(verdict)}"
    )


def _also(verdict: Judged) -> str:
    return f", {verdict.said}" if verdict.said else ""


def _at_cuts(finding: Finding, verdict: Judged) -> str:
    a, b = finding.names
    if math.isnan(finding.efficiency):
        return f"no difference shown: the efficiency of {a} is not known, since the signal of test has no weight"
    ratio = finding.ratio(wide=True)
    where = f"at the efficiency of {a} ({finding.efficiency:.3f}), {b} lets through"
    if math.isnan(ratio.value):
        return f"no difference shown: {where} no {finding.particle} and neither does {a}"
    bounds, way = (ratio.value, ratio.low, ratio.high), "fewer"
    if ratio.value < 1:
        bounds, way = (_quotient(1.0, ratio.value), _quotient(1.0, ratio.high), _quotient(1.0, ratio.low)), "more"
    times = _times(*bounds)
    if times is None:
        told = f"at the efficiency of {a} ({finding.efficiency:.3f})"
        return (
            f"no difference shown: {told}, {_undetermined(finding, f'how much less or more {b} lets through than {a}')}"
        )
    found = f"{where} {times} {way} {finding.particle}, 95 % interval"
    if ratio.low <= 1 <= ratio.high:
        return f"no difference shown: {found}"
    return f"{found}{_also(verdict)}" if verdict.decided else f"no difference shown: {found}, but {verdict.said}"


def _undetermined(finding: Finding, what: str) -> str:
    """That a number is unknown, as the events that would have to tell it."""
    n = finding.misid[0].n
    return f"{what} is not determined by the {finding.particle} of test (effectively {n:.3g})"


def _times(value: float, low: float, high: float) -> str | None:
    """How many times, with its interval; a limit where one bound alone tells something, None where neither does."""
    open_below, open_above = not low * _UNKNOWN >= min(value, high), not high <= max(value, low) * _UNKNOWN
    if math.isinf(value):
        open_above, open_below = True, not low > 0
    if open_below and open_above:
        return None
    if open_above:
        return f"at least {format_number(low, 3)} times"
    return f"at most {format_number(high, 3)} times" if open_below else f"{format_interval(value, low, high)} times"


def _two_cuts(finding: Finding) -> str:
    (a, b), (rate_a, rate_b) = finding.names, finding.wide
    return (
        f"{a} and {b} are cuts as they are, at efficiencies of their own: misid of {finding.particle} "
        f"{_bounds(rate_a)} with {a}, {_bounds(rate_b)} with {b}, 95 % intervals"
    )


def _bounds(rate: Measured) -> str:
    return f"{format_interval(100 * rate.value, 100 * rate.low, 100 * rate.high)} %"


def _percents(fractions: tuple[float, ...], error: float) -> list[str]:
    """Fractions in per cent, all with the decimal places that the error supports."""
    return format_alike(tuple(100 * fraction for fraction in fractions), 100 * error)
