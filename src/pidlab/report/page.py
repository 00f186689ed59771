"""The report: one HTML file that opens offline, in light and dark, made from results, figures and the manifest."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from pidlab.errors import OutputError
from pidlab.evaluate.results import Comparison, ModelResult, PairedPoint, Results
from pidlab.evaluate.verdicts import ERROR, corrected, p_value
from pidlab.measured import Measured
from pidlab.plots.gallery import Picture, pictures
from pidlab.report.objects import kind_of, objects_of
from pidlab.rootio.results.run import object_names
from pidlab.rounding import format_measured, format_number, format_rate

MOST_BYTES = 20_000_000
"""A larger results.root is not put into the page."""

_SECTION_OF = {
    "inputs": "inputs", "correlation": "inputs", "response": "response", "confusion": "response", "roc": "points",
    "compare": "points", "merit": "merit", "roc_pairs": "pairs", "matrix": "response", "efficiency": "efficiency",
    "map": "efficiency", "flat": "flat", "robustness": "robustness", "overtraining": "overtraining",
    "calibration": "calibration", "importance": "importance", "learning": "learning", "cutflow": "cutflow",
}  # fmt: skip
_TITLES = {
    "models": "Models", "inputs": "Inputs", "response": "Response", "points": "Working points",
    "merit": "Figure of merit", "pairs": "Pairs of classes", "efficiency": "Efficiency", "flat": "Flat efficiency",
    "robustness": "Robustness", "overtraining": "Overtraining", "calibration": "Calibration",
    "importance": "Importance", "learning": "Training", "cutflow": "Cut flow", "cuts": "Cut string",
    "more": "More figures", "objects": "ROOT objects", "configuration": "Configuration", "provenance": "Provenance",
}  # fmt: skip


class Shown(NamedTuple):
    """A picture in the page.

    Attributes:
        source: the SVG as a data URI.
        csv: its numbers as a data URI, empty where there are none, and `n_rows` of them.
        objects: JSON list of the names of ROOT objects that show the same; empty where there are none.
    """

    name: str
    title: str
    alt: str
    source: str
    csv: str
    n_rows: int
    objects: str


def write_report(
    path: Path,
    results: Results,
    *,
    title: str,
    config_yaml: str,
    manifest: Mapping[str, Any],
    figures: Iterable[Picture] | None = None,
    root_file: Path | None = None,
) -> None:
    """Write the report of a run to `path`.

    Args:
        path: the HTML file.
        results: what it tells.
        title: its heading.
        config_yaml: the configuration, shown as it is.
        manifest: provenance; mappings and lists may be nested.
        figures: from `pidlab.plots.write`; left out: drawn here.
        root_file: results.root in ZLIB or LZ4, to be drawn interactively; left out where it is very large.

    Raises:
        OutputError: the file cannot be written.
    """
    page = render(
        results, title=title, config_yaml=config_yaml, manifest=manifest, figures=figures, root_file=root_file
    )
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
    figures: Iterable[Picture] | None = None,
    root_file: Path | None = None,
) -> str:
    """The report as HTML; the same for the same input."""
    objects = object_names(root_file) if root_file is not None else ()
    root = root_file.read_bytes() if root_file is not None and root_file.stat().st_size <= MOST_BYTES else b""
    by_section: dict[str, list[Shown]] = {}
    for picture in pictures(results) if figures is None else figures:
        shown = _shown(picture, objects_of(picture.name, results, objects) if root else [])
        by_section.setdefault(_section(picture.name), []).append(shown)
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
        broken=_broken(results),
        present=_present(results, by_section, with_objects=bool(objects), with_manifest=bool(manifest)),
        config_yaml=config_yaml,
        manifest=manifest,
    )


def _section(figure: str) -> str:
    return "first" if figure == "roc" else _SECTION_OF.get(kind_of(figure, [*_SECTION_OF]), "more")


def _broken(results: Results) -> list[str]:
    """The models of which is known where a change breaks them."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    return [name for name, robust in results.robustness.items() if robust.breaks_at and name not in by_hand]


def _present(
    results: Results, figures: Mapping[str, Sequence[Shown]], *, with_objects: bool, with_manifest: bool
) -> list[str]:
    """The sections with content, in their order."""
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


def _shown(picture: Picture, objects: Sequence[str]) -> Shown:
    table = picture.table
    csv = f"data:text/csv;base64,{_base64(table.as_csv().encode())}" if table is not None and table.rows else ""
    n_rows = len(table.rows) if table is not None else 0
    listed = json.dumps(objects) if objects else ""
    return Shown(picture.name, picture.title, picture.alt, data_uri(picture.svg), csv, n_rows, listed)


def _asset(name: str) -> bytes:
    return files("pidlab.report").joinpath("assets", name).read_bytes()


def _policy(*scripts: bytes) -> str:
    """A Content-Security-Policy under which only these scripts run, and nothing is fetched."""
    hashes = " ".join(f"'sha256-{_base64(hashlib.sha256(script).digest())}'" for script in scripts if script)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _by_folder(objects: Sequence[str]) -> dict[str, list[str]]:
    """Names of objects by the directory that holds them."""
    found: dict[str, list[str]] = {}
    for name in objects:
        found.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    return found


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(measured=format_measured, number=format_number, rate=format_rate, json=json.dumps)
    environment.tests["nested"] = lambda value: isinstance(value, Mapping)
    environment.tests["listed"] = lambda value: isinstance(value, list | tuple)
    return environment


def data_uri(svg: str) -> str:
    """`svg` as the source of an image: nothing in it can clash with the page or with another figure."""
    return f"data:image/svg+xml;base64,{_base64(svg.encode())}"


def by_auc(results: Results) -> list[ModelResult]:
    """The models with a curve, the largest AUC on test first."""
    with_curve = [
        m for m in results.models.values() if "test" in m.samples and math.isfinite(m.samples["test"].auc.value)
    ]
    return sorted(with_curve, key=lambda m: -m.samples["test"].auc.value)


def verdict(results: Results) -> str:
    """Which model is best by AUC on test, and whether its lead over the second is shown."""
    ranked = by_auc(results)
    if not ranked:
        return "No model here has a curve, so none can be called best."
    best = ranked[0]
    sentence = f"{best.name} separates {results.signal} best: AUC {format_measured(best.samples['test'].auc)} on test."
    if len(ranked) == 1:
        return sentence + " No other model has an AUC to compare with."
    return f"{sentence} {_lead(results.comparisons, best.name, ranked[1].name)}"


def _lead(comparisons: Sequence[Comparison], best: str, second: str) -> str:
    """What is shown between the best and the second: of these two trainings, not of others with other seeds."""
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
    known = "is significant" if p <= ERROR else "is not significant"
    return f"{lead_text} {known} ({said})."


def against_hand_cuts(results: Results) -> list[PairedPoint]:
    """What each model does at the efficiency of somebody's cuts."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    return [point for c in results.comparisons if c.a in by_hand or c.b in by_hand for point in c.working_points]


def _point_names(models: Iterable[ModelResult]) -> list[str]:
    curved = [model for model in models if not model.fixed_cut]
    named = [name for model in curved for name in (*(p.name for p in model.working_points), *model.unset)]
    return list(dict.fromkeys(named))
