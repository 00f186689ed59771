"""What tuning found, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table

from pidlab.config.edit import flow
from pidlab.evaluate.results_tuning import Tuning


def trials_table(tuning: Tuning, n: int = 10) -> Table:
    """The best trials, one line each."""
    table = Table(title=f"{tuning.model}: best trials by {tuning.objective} on validation")
    table.add_column("trial", justify="right")
    table.add_column(tuning.objective, justify="right")
    best = tuning.ranked[:n]
    names = list(dict.fromkeys(name for trial in best for name in trial.parameters))
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("s", justify="right")
    for trial in best:
        values = [flow(trial.parameters[name]) if name in trial.parameters else "–" for name in names]
        table.add_row(str(trial.number), f"{trial.value:.5f}", *values, f"{trial.seconds:.1f}")
    return table


def tuning_lines(tuning: Tuning) -> Iterator[str]:
    """Counts, reasons, and the gain with its interval."""
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
    what = "AUC" if tuning.objective == "auc" else f"misid at {tuning.objective.partition(':')[2]}"
    if not math.isfinite(tuning.gain.value):
        yield f"{what} on validation: {tuning.after} with the best parameters"
        return
    yield f"{what} on validation: {tuning.before} as configured, {tuning.after} with the best parameters"
    sign = 1.0 if tuning.maximise else -1.0
    low, high = sorted((sign * tuning.gain.low, sign * tuning.gain.high))
    verdict = "" if low > 0 else "; that is no gain beyond what the sample fluctuates"
    yield f"gain: {sign * tuning.gain.value:+.5f} [{low:+.5f}, {high:+.5f}], 68.3 %, paired on the same events{verdict}"
    yield "These are validation numbers, and the best of many flatters itself: quote what `pidlab run` finds on test."
