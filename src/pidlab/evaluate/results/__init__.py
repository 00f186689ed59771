"""Results: frozen values that files, figures and the report are made from."""

from pidlab.evaluate.results.bands import BandCurve, BandPanel, BandVariable, PullTrend
from pidlab.evaluate.results.curves import Calibration, Histogram, Roc, Scan, ScannedFigure
from pidlab.evaluate.results.detectors import DetectorRow, DetectorTable
from pidlab.evaluate.results.explanation import Contribution, EventExplanation, ModelExplanation
from pidlab.evaluate.results.exploration import (
    Explained,
    Exploration,
    FeaturePair,
    PartialDependence,
    Plane,
    PolygonResult,
    TreeNode,
)
from pidlab.evaluate.results.fractions import Fractions, FractionsBin, ModelFractions, Yields
from pidlab.evaluate.results.model import DecisionMatrix, ModelResult, Overtraining, SampleMetrics, Scoring, Training
from pidlab.evaluate.results.points import EfficiencyMap, Flatness, FlatThreshold, WorkingPoint
from pidlab.evaluate.results.reweighting import ReweightedGroup, Reweighting
from pidlab.evaluate.results.robustness import FeatureImportance, Importance, RobustnessPoint, RobustnessResult
from pidlab.evaluate.results.run import Comparison, CutStep, PairedPoint, Results
from pidlab.evaluate.results.shift import FeatureShift, Shift
from pidlab.evaluate.results.stored import json_value, read_results, write_results
from pidlab.evaluate.results.tuning import State, Tried, Tuning
from pidlab.measured import Measured

__all__ = [
    "BandCurve",
    "BandPanel",
    "BandVariable",
    "Calibration",
    "Comparison",
    "Contribution",
    "CutStep",
    "DecisionMatrix",
    "DetectorRow",
    "DetectorTable",
    "EfficiencyMap",
    "EventExplanation",
    "Explained",
    "Exploration",
    "FeatureImportance",
    "FeaturePair",
    "FeatureShift",
    "FlatThreshold",
    "Flatness",
    "Fractions",
    "FractionsBin",
    "Histogram",
    "Importance",
    "Measured",
    "ModelExplanation",
    "ModelFractions",
    "ModelResult",
    "Overtraining",
    "PairedPoint",
    "PartialDependence",
    "Plane",
    "PolygonResult",
    "PullTrend",
    "Results",
    "ReweightedGroup",
    "Reweighting",
    "RobustnessPoint",
    "RobustnessResult",
    "Roc",
    "SampleMetrics",
    "Scan",
    "ScannedFigure",
    "Scoring",
    "Shift",
    "State",
    "Training",
    "TreeNode",
    "Tried",
    "Tuning",
    "WorkingPoint",
    "Yields",
    "json_value",
    "read_results",
    "write_results",
]
