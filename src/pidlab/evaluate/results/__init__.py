"""Results: frozen values that files, figures and the report are made from."""

from pidlab.evaluate.results.applied import Applied, AppliedCut, AppliedModel, AppliedPoint, Beside
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
from pidlab.evaluate.results.identified import Accepted, BinSums, Identified
from pidlab.evaluate.results.model import DecisionMatrix, ModelResult, Overtraining, SampleMetrics, Scoring, Training
from pidlab.evaluate.results.points import EfficiencyMap, Flatness, FlatThreshold, WorkingPoint
from pidlab.evaluate.results.regression import (
    PairedQuantity,
    PredictionPlane,
    PullMetrics,
    QuantileCoverage,
    RegressionComparison,
    RegressionImportance,
    RegressionModel,
    RegressionOvertraining,
    RegressionResults,
    ResidualImportance,
    ResidualMetrics,
    ResidualTrend,
    TargetProfile,
)
from pidlab.evaluate.results.reweighting import ReweightedGroup, Reweighting
from pidlab.evaluate.results.robustness import FeatureImportance, Importance, RobustnessPoint, RobustnessResult
from pidlab.evaluate.results.run import Comparison, CutStep, PairedPoint, Results
from pidlab.evaluate.results.shift import FeatureShift, Shift
from pidlab.evaluate.results.stored import AnyResults, json_value, read_any_results, read_results, write_results
from pidlab.evaluate.results.tuning import State, Tried, Tuning
from pidlab.measured import Measured

__all__ = [
    "Accepted",
    "AnyResults",
    "Applied",
    "AppliedCut",
    "AppliedModel",
    "AppliedPoint",
    "BandCurve",
    "BandPanel",
    "BandVariable",
    "Beside",
    "BinSums",
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
    "Identified",
    "Importance",
    "Measured",
    "ModelExplanation",
    "ModelFractions",
    "ModelResult",
    "Overtraining",
    "PairedPoint",
    "PairedQuantity",
    "PartialDependence",
    "Plane",
    "PolygonResult",
    "PredictionPlane",
    "PullMetrics",
    "PullTrend",
    "QuantileCoverage",
    "RegressionComparison",
    "RegressionImportance",
    "RegressionModel",
    "RegressionOvertraining",
    "RegressionResults",
    "ResidualImportance",
    "ResidualMetrics",
    "ResidualTrend",
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
    "TargetProfile",
    "Training",
    "TreeNode",
    "Tried",
    "Tuning",
    "WorkingPoint",
    "Yields",
    "json_value",
    "read_any_results",
    "read_results",
    "write_results",
]
