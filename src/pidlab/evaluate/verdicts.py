"""What a paired comparison at one decision found, and the sentence that says it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pidlab.evaluate.intervals import deviations
from pidlab.evaluate.results import Measured
from pidlab.rounding import format_alike, format_interval

WIDE = 0.95
_Z95 = deviations(WIDE)


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


def _quotient(above: float, below: float) -> float:
    """above / below of rates, where a rate that is not positive counts as zero; 0 / 0 is unknown."""
    if above <= 0 and below <= 0:
        return math.nan
    return max(above, 0.0) / below if below > 0 else math.inf


def sentence(finding: Finding) -> str:
    """The verdict with its 95 % interval; rates and their differences are in per cent of the class's candidates."""
    if all(finding.fixed):
        return _two_cuts(finding)
    return _at_cuts(finding) if finding.fixed[0] else _at_point(finding)


def _at_point(finding: Finding) -> str:
    a, b = finding.names
    if finding.alike:
        return f"no difference shown: {a} and {b} decide alike at {finding.point}"
    wide = _Z95 * finding.deviation
    low, high = finding.delta - wide, finding.delta + wide
    rates = (finding.misid[0].value, finding.misid[1].value)
    if low <= 0 <= high:
        rate_a, rate_b, least, most = _percents((*rates, low, high), wide)
        return (
            f"no difference shown: misid of {finding.particle} at {finding.point} is {rate_b} % with {b} "
            f"and {rate_a} % with {a}, 95 % interval of the difference {least} to {most} %"
        )
    winner, loser = (b, a) if finding.delta < 0 else (a, b)
    nearer, further = sorted((abs(low), abs(high)))
    told = _percents((abs(finding.delta), nearer, further, min(rates), max(rates)), wide)
    return (
        f"{winner} beats {loser} at {finding.point}: misid of {finding.particle} "
        f"{told[0]} % lower, 95 % interval {told[1]} to {told[2]} % ({told[3]} % against {told[4]} %)"
    )


def _at_cuts(finding: Finding) -> str:
    a, b = finding.names
    ratio = finding.ratio(wide=True)
    where = f"at the efficiency of {a} ({finding.efficiency:.3f}), {b} lets through"
    if math.isnan(ratio.value):
        return f"no difference shown: {where} no {finding.particle} and neither does {a}"
    bounds = (ratio.value, ratio.low, ratio.high)
    if ratio.high < 1:
        more = (_quotient(1.0, bound) for bound in (ratio.value, ratio.high, ratio.low))
        return f"{where} {_times(*more)} more {finding.particle}, 95 % interval"
    undecided = "no difference shown: " if ratio.low <= 1 else ""
    return f"{undecided}{where} {_times(*bounds)} fewer {finding.particle}, 95 % interval"


def _times(value: float, low: float, high: float) -> str:
    return f"{format_interval(value, low, high)} times"


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
