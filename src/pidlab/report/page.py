"""The report: one HTML file of results, figures and the manifest that opens offline, in light and dark."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pidlab.errors import OutputError
from pidlab.evaluate.results import Comparison, ModelResult, PairedPoint, Results
from pidlab.evaluate.verdicts import ERROR, corrected, p_value
from pidlab.measured import Measured
from pidlab.rootio.results.run import object_names
from pidlab.rounding import format_measured, format_number, format_rate

if TYPE_CHECKING:  # matplotlib, which a report without figures does not need
    from pidlab.plots.gallery import Picture

MOST_BYTES = 20_000_000
"""A larger results.root is not embedded in the page."""

_TITLES = {
    "models": "Models", "inputs": "Inputs", "response": "Response", "points": "Working points",
    "merit": "Figure of merit", "pairs": "Pairs of classes", "efficiency": "Efficiency",
    "robustness": "Robustness", "overtraining": "Overtraining", "calibration": "Calibration",
    "importance": "Importance", "learning": "Training", "cutflow": "Cut flow", "cuts": "Cut string",
    "more": "More figures", "objects": "ROOT objects", "configuration": "Configuration", "provenance": "Provenance",
}  # fmt: skip


def write_report(path: Path, page: str) -> None:
    """Write a rendered page to `path`.

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
    results: Results,
    *,
    title: str,
    config_yaml: str,
    manifest: Mapping[str, Any],
    figures: Iterable[Picture],
    root_file: Path | None = None,
) -> str:
    """Returns the report of a run as HTML, the same for the same input.

    Args:
        results: those of the run.
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
    script, jsroot = _asset("report.js").decode(), _asset("jsroot.min.js.gz") if root else b""
    page = _environment().from_string(
        files("pidlab.report").joinpath("template.html.jinja").read_text(encoding="utf-8")
    )
    return page.render(
        title=title,
        titles=_TITLES,
        style=_asset("report.css").decode(),
        policy=_policy(script.encode(), gzip.decompress(jsroot) if jsroot else b""),
        script=script,
        jsroot=_base64(jsroot),
        root=_base64(root),
        objects=_by_folder(objects),
        results=results,
        verdict=verdict(results),
        best=next((model.name for model in by_auc(results)), ""),
        against_cuts=against_hand_cuts(results),
        points=_point_names(results.models.values()),
        others=[name for name in results.classes if name != results.signal],
        figures=by_section,
        objects_of=partial(objects_of, names=objects if root else ()),
        broken=_broken(results),
        present=_present(results, by_section, with_objects=bool(objects), with_manifest=bool(manifest)),
        config_yaml=config_yaml,
        manifest=manifest,
    )


def _broken(results: Results) -> list[str]:
    """Returns the models for which the size of change that breaks them was measured."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    return [name for name, robust in results.robustness.items() if robust.breaks_at and name not in by_hand]


def _present(
    results: Results, figures: Mapping[str, Sequence[Picture]], *, with_objects: bool, with_manifest: bool
) -> list[str]:
    """Returns the sections that have content, in their order."""
    models = results.models.values()
    filled = {
        "models": True,
        "inputs": bool(results.n),
        "response": bool(models),
        "points": bool(models),
        "robustness": bool(_broken(results)),
        "overtraining": any(model.overtraining for model in models),
        "learning": any(model.training for model in models),
        "cutflow": bool(results.cutflow),
        "cuts": any(model.cut_string for model in models),
        "objects": with_objects,
        "configuration": True,
        "provenance": with_manifest,
    }
    return [section for section in _TITLES if filled.get(section) or figures.get(section)]


def objects_of(picture: Picture, names: Sequence[str]) -> list[str]:
    """Returns those of `names` in results.root that show the same as a picture, the best first."""
    matching = (name for pattern in picture.objects for name in names if fnmatchcase(name, pattern))
    return list(dict.fromkeys(matching))


def _asset(name: str) -> bytes:
    return files("pidlab.report").joinpath("assets", name).read_bytes()


def _policy(*scripts: bytes) -> str:
    """Returns a Content-Security-Policy under which only these scripts run and nothing is fetched."""
    hashes = " ".join(f"'sha256-{_base64(hashlib.sha256(script).digest())}'" for script in scripts if script)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _by_folder(objects: Sequence[str]) -> dict[str, list[str]]:
    """Returns the names of objects by their directory."""
    found: dict[str, list[str]] = {}
    for name in objects:
        found.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    return found


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        measured=format_measured, number=format_number, rate=format_rate, json=json.dumps, data_uri=data_uri
    )
    environment.tests["nested"] = lambda value: isinstance(value, Mapping)
    environment.tests["listed"] = lambda value: isinstance(value, list | tuple)
    return environment


def data_uri(content: str, kind: str) -> str:
    """Returns text as a data URI, so that nothing in it can clash with the page or with another figure."""
    return f"data:{kind};base64,{_base64(content.encode())}"


def by_auc(results: Results) -> list[ModelResult]:
    """Returns the models with an AUC on test, the largest first."""
    with_curve = [
        m for m in results.models.values() if "test" in m.samples and math.isfinite(m.samples["test"].auc.value)
    ]
    return sorted(with_curve, key=lambda m: -m.samples["test"].auc.value)


def verdict(results: Results) -> str:
    """Returns sentences on the model of largest AUC on test, and on the significance of its lead over the second."""
    ranked = by_auc(results)
    if not ranked:
        return "No model here has a curve, so none can be called best."
    best = ranked[0]
    sentence = f"{best.name} separates {results.signal} best: AUC {format_measured(best.samples['test'].auc)} on test."
    if len(ranked) == 1:
        return sentence + " No other model has an AUC to compare with."
    return f"{sentence} {_lead(results.comparisons, best.name, ranked[1].name)}"


def _lead(comparisons: Sequence[Comparison], best: str, second: str) -> str:
    """Returns a sentence on the lead of the best model, which holds for these two trainings, not for other seeds."""
    found = next((c for c in comparisons if {c.a, c.b} == {best, second}), None)
    if found is None or not math.isfinite(found.delta_auc.value):
        return f"Its lead over {second} was not compared event by event."
    value, low, high, n = found.delta_auc
    lead = found.delta_auc if found.b == best else Measured(-value, -high, -low, n)
    error = lead.value - lead.low
    lead_text = f"Of these two trainings: its lead over {second}, ΔAUC = {format_measured(lead)} on the same events,"
    if not error > 0:
        return f"{lead_text} has no interval."
    p, said = p_value(lead.value, error), f"{lead.value / error:.1f} standard errors"
    if math.isfinite(found.auc_p_adjusted) and found.n_comparisons > 1:
        p, said = found.auc_p_adjusted, corrected(found.auc_p_adjusted, found.n_comparisons)
    found_to_be = "is significant" if p <= ERROR else "is not significant"
    return f"{lead_text} {found_to_be} ({said})."


def against_hand_cuts(results: Results) -> list[PairedPoint]:
    """Returns the comparisons with fixed cuts, at the efficiency of these cuts."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    return [point for c in results.comparisons if c.a in by_hand or c.b in by_hand for point in c.working_points]


def _point_names(models: Iterable[ModelResult]) -> list[str]:
    curved = [model for model in models if not model.fixed_cut]
    named = [name for model in curved for name in (*(p.name for p in model.working_points), *model.unset)]
    return list(dict.fromkeys(named))
