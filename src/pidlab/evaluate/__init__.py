"""Evaluation: from scores and samples to results with intervals."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand

if TYPE_CHECKING:
    from pidlab.evaluate.compare import compare_models
    from pidlab.evaluate.decisions import evaluate_decisions, with_decisions
    from pidlab.evaluate.detectors import compare_detectors
    from pidlab.evaluate.histograms import correlations, histogram, input_histograms
    from pidlab.evaluate.model import evaluate_model
    from pidlab.evaluate.robustness import measure_robustness

__all__ = [
    "compare_detectors",
    "compare_models",
    "correlations",
    "evaluate_decisions",
    "evaluate_model",
    "histogram",
    "input_histograms",
    "measure_robustness",
    "with_decisions",
]

__getattr__ = on_demand(
    __name__,
    {
        "compare_detectors": "detectors",
        "compare_models": "compare",
        "correlations": "histograms",
        "evaluate_decisions": "decisions",
        "evaluate_model": "model",
        "histogram": "histograms",
        "input_histograms": "histograms",
        "measure_robustness": "robustness",
        "with_decisions": "decisions",
    },
)
