"""Record: the numbers, figures, ROOT objects and report of a run, and the manifest that says how it was made."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab import __version__
from pidlab.config.load import LoadedConfig
from pidlab.config.schema import Style
from pidlab.evaluate.results import (
    AnyResults,
    EfficiencyMap,
    Flatness,
    ModelResult,
    RegressionModel,
    RegressionResults,
    ResidualTrend,
    Reweighting,
    json_value,
)
from pidlab.evaluate.results import write_results as write_results_json
from pidlab.jsonfile import write_json
from pidlab.models.registry import Resources
from pidlab.plots.worker import FigureWorker, check_figures, drawing
from pidlab.preprocess.events import Input
from pidlab.report.page import render, write_report
from pidlab.rootio.results.run import write_results
from pidlab.runs.bundle import Bundle, config_yaml
from pidlab.runs.manifest import FILE, KIND, checksums
from pidlab.runs.manifest import SCHEMA as MANIFEST_SCHEMA
from pidlab.runs.revision import revision_of

if TYPE_CHECKING:  # matplotlib, which a run without figures does not need
    from pidlab.plots.gallery import Figures

SCHEMA = 1
_PACKAGES = ("awkward", "numba", "numpy", "scikit-learn", "scipy", "torch", "uproot", "xgboost")


def manifest_of(loaded: LoadedConfig, inputs: Sequence[Input], resources: Resources, started: float) -> dict[str, Any]:
    """Returns the manifest of a run: versions, seeds, hardware, git state, and hashes of the inputs."""
    return {
        "schema": MANIFEST_SCHEMA,
        "kind": KIND,
        "pidlab": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "n_cores": os.cpu_count(),
        "device": _device(resources),
        "seeds": {"seed": loaded.config.seed, "split": loaded.config.split.seed},
        "git": revision_of(loaded.folder),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 2),
        "inputs": [
            {
                "file": i.source.place,
                "tree": i.source.tree,
                "entries": i.n_entries,
                "rows": i.n_rows,
                "hashes": dict(i.hashes),
            }
            for i in inputs
        ],
    }


def _device(resources: Resources) -> str:
    """Returns the device that networks trained on; "cpu" if there were none."""
    torch = sys.modules.get("torch")
    if torch is None or resources.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())


def write_record(
    folder: Path,
    results: AnyResults,
    bundle: Bundle,
    manifest: Mapping[str, Any],
    worker: FigureWorker | None = None,
    *,
    figures: Figures = "all",
) -> None:
    """Writes everything of a run but its models and friends, with those `figures`; `worker` draws some of them."""
    write_json(folder / "metrics.json", metrics(results))
    write_results_json(folder / "results.json", results)
    write_json(folder / FILE, manifest)
    loaded = bundle.recipe.loaded
    page = draw_report(
        folder, results, loaded.name, loaded.config.style, config_yaml(loaded), manifest, figures, worker
    )
    write_report(folder / "report.html", page)


def draw_report(
    folder: Path,
    results: AnyResults,
    title: str,
    style: Style,
    config: str,
    manifest: Mapping[str, Any],
    figures: Figures,
    worker: FigureWorker | None = None,
) -> str:
    """Writes `results.root` and the figures into a folder, and returns the report as HTML.

    Args:
        folder: an existing folder; if there is a worker, with `results.json`.
        results: the results of a run.
        title: heads the report.
        style: label and style of an experiment.
        config: the configuration as YAML.
        manifest: the provenance.
        figures: which figures are drawn.
        worker: draws some of the figures.

    Raises:
        OutputError: a file cannot be written.
    """
    check_figures(figures)
    (folder / "plots").mkdir()
    with drawing(folder, results, style, worker, figures=figures) as drawn:
        write_results(folder / "results.root", results, json.dumps(manifest))
        pictures = drawn()
    return render(
        results,
        title=title,
        config_yaml=config,
        manifest=manifest,
        figures=pictures,
        root_file=folder / "results.root",
    )


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest with the checksums of all files of the run, after which none may be written."""
    write_json(folder / FILE, {**manifest, "files": checksums(folder)})


def metrics(results: AnyResults) -> dict[str, Any]:
    """Returns `metrics.json`, schema 1; that of a regression has `kind` and `target` in place of the classes."""
    content: dict[str, Any] = {"schema": SCHEMA}
    if isinstance(results, RegressionResults):
        content |= {"kind": "regression", **_fields(results, "target", "n", "cutflow")}
        content["models"] = {name: _regression_model_metrics(model) for name, model in results.models.items()}
        content |= _fields(results, "comparisons", "importance", "notes")
    else:
        content |= _fields(results, "signal", "classes", "n", "cutflow")
        content["models"] = {name: _model_metrics(model) for name, model in results.models.items()}
        content |= _fields(results, "comparisons")
        content["robustness"] = {name: json_value(r.points) for name, r in results.robustness.items()}
        content["breaks_at"] = {name: json_value(r.breaks_at) for name, r in results.robustness.items()}
        content |= _fields(results, "importance", "detectors", "notes")
    if results.reweighting is not None:
        content["reweighting"] = _reweighting_metrics(results.reweighting)
    return content


def _fields(found: Any, *names: str) -> dict[str, Any]:
    """Returns fields of a result in the types of JSON."""
    return {name: json_value(getattr(found, name)) for name in names}


def _regression_model_metrics(model: RegressionModel) -> dict[str, Any]:
    content = {"type": model.kind} | {sample: json_value(found) for sample, found in model.samples.items()}
    content |= _fields(model, "overtraining", "training", "note", "scoring")
    return content | {"trends": [_trend_metrics(trend) for trend in model.trends]}


def _trend_metrics(trend: ResidualTrend) -> dict[str, Any]:
    """Returns value and bounds by bin, null in empty bins."""
    content: dict[str, Any] = {"against": trend.x, **_fields(trend, "edges")}
    for name in ("bias", "sigma68"):
        ends = {"value": "", "low": "_low", "high": "_high"}
        content[name] = {end: json_value(getattr(trend, f"{name}{suffix}")) for end, suffix in ends.items()}
    return content | _fields(trend, "n", "least")


def _reweighting_metrics(found: Reweighting) -> dict[str, Any]:
    content: dict[str, Any] = json_value(found)
    for group in content["groups"]:
        del group["variables"], group["weights"]  # distributions, which results.json and results.root hold
    return content


def _model_metrics(model: ModelResult) -> dict[str, Any]:
    content: dict[str, Any] = {"type": model.kind}
    for part, m in model.samples.items():
        content[part] = json_value(m)
        classes, counts = content[part].pop("classes"), content[part].pop("confusion")
        content[part]["confusion_matrix"] = {"classes": classes, "counts": counts}
        content[part]["auc"]["n_by_class"] = content[part].pop("n_by_class")
    content |= _fields(model, "working_points", "overtraining", "training", "cut_string", "note", "unset", "scoring")
    content["flatness"] = [_flatness_metrics(f) for f in model.flatness]
    content["maps"] = [_map_metrics(m) for m in model.maps]
    content |= _quality_metrics(model)
    return content


def _flatness_metrics(found: Flatness) -> dict[str, Any]:
    content = _fields(found, "working_point", "ndf")
    for name in ("chi2", "spread"):
        content[name] = {when: json_value(getattr(found, f"{name}_{when}")) for when in ("before", "after")}
    return content | {"before": _map_metrics(found.before), "after": _map_metrics(found.after)}


def _map_metrics(one: EfficiencyMap) -> dict[str, Any]:
    """Returns value and bounds by bin, null in empty ones; `thin` marks those below `least` effective events."""
    return _fields(one, "working_point", "particle", "names", "edges", "value", "low", "high", "n", "least", "thin")


def _quality_metrics(model: ModelResult) -> dict[str, Any]:
    """Returns calibration, figures of merit, pairs of classes and the matrix, as far as the model has them."""
    content: dict[str, Any] = {}
    if model.calibration is not None:
        content |= _fields(model, "calibration")
    if model.scan is not None:
        found = {name: m for name, m in model.scan.merits.items() if m.best is not None}
        best = {
            n: json_value({"threshold": m.best, "value": m.at_best, "efficiency": m.efficiency})
            for n, m in found.items()
        }
        content["figures_of_merit"] = {**_fields(model.scan, "expected", "basis", "sigma"), "best": best}
    if model.matrix is not None:
        content["matrix"] = json_value(model.matrix)
    if model.roc_pairs:
        areas = {one: {c: r.auc for c, r in others.items()} for one, others in model.roc_pairs.items()}
        content["auc_pairs"] = json_value(areas)
    if model.bands:
        names = ("variable", "against", "side", "lines", "mean", "width", "kept")
        content["bands"] = [_fields(band, *names) for band in model.bands]
    return content | _fields(model, *(name for name in ("optimal_points", "class_points") if getattr(model, name)))
