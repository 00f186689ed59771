"""The results of tuning, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:  # the evaluation takes a second to load, which commands that look at a file do not need
    from pidlab.evaluate.results import Tuning
    from pidlab.measured import Measured
_N_SHOWN = 10


def trials_table(tuning: Tuning) -> Table:
    """Returns the best trials, one line each."""
    from pidlab.config.edit import flow

    table = Table(title=f"{tuning.model}: best trials by {tuning.objective} on validation")
    table.add_column("trial", justify="right")
    table.add_column(f"{tuning.objective} (%)" if _is_rate(tuning) else tuning.objective, justify="right")
    best = tuning.ranked[:_N_SHOWN]
    names = list(dict.fromkeys(name for trial in best for name in trial.parameters))
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("s", justify="right")
    for trial in best:
        values = [flow(trial.parameters[name]) if name in trial.parameters else "–" for name in names]
        table.add_row(str(trial.number), f"{_factor(tuning) * trial.value:.5f}", *values, f"{trial.seconds:.1f}")
    return table


def tuning_lines(tuning: Tuning) -> Iterator[str]:
    """Counts, reasons, and the gain with its interval."""
    from pidlab.evaluate.results.tuning import objective_text

    counts = dict.fromkeys(("complete", "pruned", "refused", "failed", "running"), 0)
    for trial in tuning.trials:
        counts[trial.state] += 1
    yield f"{len(tuning.trials)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    reason = next((t.reason for t in reversed(tuning.trials) if t.reason), "")
    if reason:
        yield f"refused, for example: {reason}"
    if tuning.importance:
        shares = sorted(tuning.importance.items(), key=lambda item: -item[1])[:4]
        yield "what mattered: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
    what = objective_text(tuning.objective)
    if not math.isfinite(tuning.gain.value):
        yield f"{what} on validation: {_shown(tuning, tuning.after)} with the best parameters"
        return
    before, after = _shown(tuning, tuning.before), _shown(tuning, tuning.after)
    yield f"{what} on validation: {before} as configured, {after} with the best parameters"
    yield _gain_line(tuning)
    yield "These are validation numbers, and the best of many flatters itself: quote what `pidlab run` finds on test."


def _is_rate(tuning: Tuning) -> bool:
    """Returns True for misidentification, which people read in per cent."""
    return ":" in tuning.objective


def _factor(tuning: Tuning) -> float:
    return 100.0 if _is_rate(tuning) else 1.0


def _shown(tuning: Tuning, measured: Measured) -> str:
    """Returns the objective with its interval, a misidentification in per cent."""
    from pidlab.measured import Measured

    if not _is_rate(tuning):
        return str(measured)
    value, low, high, n = measured
    return f"{Measured(100 * value, 100 * low, 100 * high, n)} %"


def _gain_line(tuning: Tuning) -> str:
    """Returns the gain with its 95 % interval, judged as the best of n trials.

    Its p-value is the smallest of n, which Holm's procedure multiplies by n.
    """
    from pidlab.evaluate.intervals import deviations
    from pidlab.evaluate.verdicts import ERROR, WIDE, corrected, measured_p

    scale, unit = _factor(tuning), " %" if _is_rate(tuning) else ""
    value = scale * (tuning.gain.value if tuning.maximise else -tuning.gain.value)
    wide = scale * deviations(WIDE) * (tuning.gain.high - tuning.gain.low) / 2
    found = (
        f"{value:+.5f}{unit}, 95 % interval {value - wide:+.5f} to {value + wide:+.5f}{unit}, paired on the same events"
    )
    n = len(tuning.ranked)
    p = measured_p(tuning.gain)
    p = min(1.0, n * p) if math.isfinite(p) else 1.0
    said = f"; {corrected(p, n)}, the trials of which this is the best" if n > 1 else ""
    shown = value > 0 and p <= ERROR
    return f"gain: {found}{said}" if shown else f"gain: none shown; {found}{said}"
