"""The report: one HTML file of results, figures and the manifest that opens offline, in light and dark."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pidlab.errors import OutputError
from pidlab.evaluate.points.attained import misses_target
from pidlab.evaluate.regression.compare import QUANTITIES
from pidlab.evaluate.results import AnyResults, ModelResult, RegressionResults, Results
from pidlab.evaluate.verdicts import among_others
from pidlab.measured import format_compact, format_measured, format_number, format_percent, format_rate, format_share
from pidlab.report.headline import below_chance, best_model, few_events, headline, training_faults
from pidlab.report.offline import as_base64, asset, environment
from pidlab.report.regression import best_regression, format_r2, regression_cautions, regression_headline
from pidlab.report.tables import (
    MARK,
    against_hand_cuts,
    as_html,
    detector_tables,
    family,
    remarks,
    robustness_table,
    verdict_table,
    weights_tables,
)
from pidlab.rootio.results.run import object_names

if TYPE_CHECKING:
    from pidlab.plots.sheets.picture import Picture

MOST_BYTES = 20_000_000
"""A larger results.root is not embedded in the page."""

_TITLES = {
    "models": "Models", "comparisons": "Comparisons", "inputs": "Inputs", "reweighting": "Weights",
    "predictions": "Predictions", "resolution": "Bias and resolution", "widths": "Predicted widths",
    "response": "Response", "bands": "Bands", "points": "Working points", "identified": "After identification",
    "detectors": "Detectors", "merit": "Figure of merit", "pairs": "Pairs of classes", "efficiency": "Efficiency",
    "robustness": "Robustness", "overtraining": "Overtraining", "calibration": "Calibration",
    "importance": "Importance", "learning": "Training", "cutflow": "Cut flow", "cuts": "Cut string",
    "more": "More figures", "objects": "ROOT objects", "configuration": "Configuration", "provenance": "Provenance",
}  # fmt: skip


def write_report(path: Path, page: str) -> None:
    """Writes a rendered page to `path`.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(
            f"{path}: the report cannot be written ({error.strerror or error}); "
            "choose a place with room where you may write, by `-o`"
        ) from error


def render(
    results: AnyResults,
    *,
    title: str,
    config_yaml: str,
    manifest: Mapping[str, Any],
    figures: Iterable[Picture],
    root_file: Path | None = None,
) -> str:
    """Returns the report of a run as HTML, the same for the same input.

    Args:
        results: the results of the run, of a classification or a regression.
        title: the heading.
        config_yaml: the configuration, shown verbatim.
        manifest: provenance; mappings and lists may be nested.
        figures: from `pidlab.plots.gallery.write`.
        root_file: results.root in ZLIB or LZ4; if it has at most `MOST_BYTES`, readers can draw its objects.
    """
    objects = object_names(root_file) if root_file is not None else ()
    root = root_file.read_bytes() if root_file is not None and root_file.stat().st_size <= MOST_BYTES else b""
    by_section: dict[str, list[Picture]] = {}
    for picture in figures:
        by_section.setdefault(picture.section, []).append(picture)
    script, jsroot = asset("report.js").decode(), asset("jsroot.min.js.gz") if root else b""
    if isinstance(results, RegressionResults):
        template, own, content = "regression.html.jinja", _filled_of_regression(results), _regression(results)
    else:
        template, own, content = "template.html.jinja", _filled(results), _classification(results)
    filled = own | {
        "models": True, "inputs": bool(results.n), "reweighting": results.reweighting is not None,
        "overtraining": any(model.overtraining for model in results.models.values()),
        "cutflow": bool(results.cutflow), "objects": bool(objects), "configuration": True, "provenance": bool(manifest),
    }  # fmt: skip
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            titles=_TITLES,
            style=asset("report.css").decode(),
            policy=_policy(script.encode(), gzip.decompress(jsroot) if jsroot else b""),
            script=script,
            jsroot=as_base64(jsroot),
            root=as_base64(root),
            objects=_by_folder(objects),
            results=results,
            figures=by_section,
            objects_of=partial(objects_of, names=objects if root else ()),
            present=[section for section in _TITLES if filled.get(section) or by_section.get(section)],
            config_yaml=config_yaml,
            # The checksums of a finished run's files are for machines, which read them from manifest.json.
            manifest={key: value for key, value in manifest.items() if key != "files"},
            **content,
        )
    )


def _classification(results: Results) -> dict[str, Any]:
    return {
        "headline": headline(results),
        "cautions": [*below_chance(results), *training_faults(results), *few_events(results)],
        "best": best_model(results),
        "remarks": list(remarks(results)),
        "mark": MARK,
        "against_cuts": against_hand_cuts(results),
        "family": list(family(results.comparisons)),
        "verdicts": as_html(verdict_table(results)),
        "detectors": [as_html(table) for table in detector_tables(results)],
        "robustness": as_html(robustness_table(results)),
        "weights": [as_html(table) for table in weights_tables(results)],
        "points": _point_names(results.models.values()),
        "others": [name for name in results.classes if name != results.signal],
    }


def _regression(results: RegressionResults) -> dict[str, Any]:
    return {
        "headline": regression_headline(results),
        "cautions": list(regression_cautions(results)),
        "best": best_regression(results),
        "quantities": QUANTITIES,
        "weights": [as_html(table) for table in weights_tables(results)],
    }


def _filled(results: Results) -> dict[str, bool]:
    """Returns which sections of a classification have content without figures."""
    models = results.models.values()
    return {
        "response": bool(models),
        "bands": any(model.bands for model in models),
        "points": bool(models),
        "identified": results.identified is not None,
        "comparisons": bool(results.comparisons),
        "detectors": bool(results.detectors),
        "robustness": bool(robustness_table(results).columns[1:]),
        "learning": any(model.training for model in models),
        "cuts": any(model.cut_string for model in models),
    }


def _filled_of_regression(results: RegressionResults) -> dict[str, bool]:
    models = results.models.values()
    return {
        "comparisons": bool(models),
        "widths": any(model.test.pulls or model.test.quantiles for model in models),
        "learning": any(model.training or model.note for model in models),
    }


def objects_of(picture: Picture, names: Sequence[str]) -> list[str]:
    """Returns those of `names` in results.root that show the same as a picture, the best first."""
    matching = (name for pattern in picture.objects for name in names if fnmatchcase(name, pattern))
    return list(dict.fromkeys(matching))


def _policy(*scripts: bytes) -> str:
    """Returns a Content-Security-Policy under which only these scripts run and nothing is fetched."""
    hashes = " ".join(f"'sha256-{as_base64(hashlib.sha256(script).digest())}'" for script in scripts if script)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _by_folder(objects: Sequence[str]) -> dict[str, list[str]]:
    """Returns the names of objects by their directory."""
    found: dict[str, list[str]] = {}
    for name in objects:
        found.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    return found


def _environment() -> jinja2.Environment:
    found = environment()
    found.filters.update(
        measured=format_measured, number=format_number, rate=format_rate, json=json.dumps,
        percent=format_percent, compact=format_compact, share=format_share, among_others=among_others, r2=format_r2,
    )  # fmt: skip
    found.tests["off_target"] = misses_target
    found.tests["nested"] = lambda value: isinstance(value, Mapping)
    found.tests["listed"] = lambda value: isinstance(value, list | tuple)
    return found


def _point_names(models: Iterable[ModelResult]) -> list[str]:
    curved = [model for model in models if not model.fixed_cut]
    named = [name for model in curved for name in (*(p.name for p in model.working_points), *model.unset)]
    return list(dict.fromkeys(named))
