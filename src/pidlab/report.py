"""The report: one HTML file that opens offline, in light and dark, made from results, figures and the manifest."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from pidlab.errors import OutputError
from pidlab.evaluate.results import Comparison, Measured, ModelResult, PairedPoint, Results
from pidlab.plots.gallery import Picture, figures, pictures

SIGNIFICANT = 2.0
"""A difference counts as significant from this many standard errors on."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SECTION_OF = {
    "inputs": "inputs", "correlation": "inputs", "response": "response", "confusion": "response", "roc": "points",
    "compare": "points", "efficiency": "efficiency", "map": "efficiency", "robustness": "robustness",
    "learning": "learning", "cutflow": "cutflow",
}  # fmt: skip


class Shown(NamedTuple):
    """A picture in the page: `source` is the SVG as a data URI."""

    title: str
    alt: str
    source: str


def write_report(
    path: Path,
    results: Results,
    *,
    title: str,
    config_yaml: str,
    manifest: Mapping[str, Any],
    figures: Iterable[Picture] | None = None,
) -> None:
    """Write the report of a run to `path`.

    Args:
        path: the HTML file.
        results: what it tells.
        title: its heading.
        config_yaml: the configuration, shown as it is.
        manifest: provenance; mappings and lists may be nested.
        figures: from `pidlab.plots.write`; left out: drawn here.

    Raises:
        OutputError: the file cannot be written.
    """
    page = render(results, title=title, config_yaml=config_yaml, manifest=manifest, figures=figures)
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
) -> str:
    """The report as HTML; the same for the same input."""
    drawn = list(_drawn(results) if figures is None else figures)
    by_section: dict[str, list[Shown]] = {}
    for picture in drawn:
        section = "first" if picture.name == "roc" else _SECTION_OF.get(picture.name.split("_")[0], "more")
        by_section.setdefault(section, []).append(Shown(picture.title, picture.alt, data_uri(picture.svg)))
    template = files("pidlab").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = _environment().from_string(template)
    return page.render(
        title=title,
        results=results,
        verdict=verdict(results),
        best=next((model.name for model in by_auc(results)), ""),
        against_cuts=against_hand_cuts(results),
        points=_point_names(results.models.values()),
        others=[name for name in results.classes if name != results.signal],
        figures=by_section,
        config_yaml=config_yaml,
        manifest=manifest,
    )


def _drawn(results: Results) -> Iterable[Picture]:
    return pictures(figures(results))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(measured=format_measured, number=format_number)
    environment.tests["nested"] = lambda value: isinstance(value, Mapping)
    environment.tests["listed"] = lambda value: isinstance(value, list | tuple)
    return environment


def data_uri(svg: str) -> str:
    """`svg` as the source of an image: nothing in it can clash with the page or with another figure."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def by_auc(results: Results) -> list[ModelResult]:
    """The models with a curve, the largest AUC on test first."""
    with_curve = [
        m for m in results.models.values() if "test" in m.samples and math.isfinite(m.samples["test"].auc.value)
    ]
    return sorted(with_curve, key=lambda m: -m.samples["test"].auc.value)


def verdict(results: Results) -> str:
    """Which model is best by AUC on test, and whether its lead over the second is more than chance."""
    ranked = by_auc(results)
    if not ranked:
        return "No model here has a curve, so none can be called best."
    best = ranked[0]
    sentence = f"{best.name} separates {results.signal} best: AUC {format_measured(best.samples['test'].auc)} on test."
    if len(ranked) == 1:
        return sentence + " No other model has an AUC to compare with."
    return f"{sentence} {_lead(results.comparisons, best.name, ranked[1].name)}"


def _lead(comparisons: Sequence[Comparison], best: str, second: str) -> str:
    found = next((c for c in comparisons if {c.a, c.b} == {best, second}), None)
    if found is None or not math.isfinite(found.delta_auc.value):
        return f"Its lead over {second} was not compared event by event."
    value, low, high, n = found.delta_auc
    lead = found.delta_auc if found.b == best else Measured(-value, -high, -low, n)
    error = lead.value - lead.low
    lead_text = f"Its lead over {second}, ΔAUC = {format_measured(lead)} on the same events,"
    if not error > 0:
        return f"{lead_text} has no interval."
    size = lead.value / error
    known = "is significant" if size >= SIGNIFICANT else "is not significant"
    return f"{lead_text} {known} ({size:.1f} standard errors)."


def against_hand_cuts(results: Results) -> list[PairedPoint]:
    """What each model does at the efficiency of somebody's cuts."""
    by_hand = {name for name, model in results.models.items() if model.single_point}
    return [point for c in results.comparisons if c.a in by_hand or c.b in by_hand for point in c.working_points]


def _point_names(models: Iterable[ModelResult]) -> list[str]:
    return list(dict.fromkeys(p.name for model in models if not model.single_point for p in model.working_points))


def format_number(value: float | None, digits: int = 4) -> str:
    """`value` to some significant digits; "–" where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−")


def format_measured(measured: Measured) -> str:
    """A number with its error as the Particle Data Group rounds (Review of Particle Physics, introduction, 5.3).

    "0.9912 ± 0.0005", "0.9912 +0.0005 −0.0006", "(3.1 ± 0.2)×10⁻⁴", "> 830" where only a lower bound exists, and
    "–" for what is undefined.
    """
    value, low, high, _ = measured
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return f"> {format_number(low, 3)}" if value > 0 and math.isfinite(low) else format_number(value)
    if not (math.isfinite(low) and math.isfinite(high)) or low > value or high < value:
        return f"{format_number(value)} [{format_number(low, 3)}, {format_number(high, 3)}]"
    up, down = high - value, value - low
    if up == 0 and down == 0:
        return format_number(value)
    power = _power(max(abs(value), up, down))
    text = _with_errors(value / 10.0**power, up / 10.0**power, down / 10.0**power)
    return f"({text})×10{str(power).translate(_SUPERSCRIPTS)}" if power else text


def _power(size: float) -> int:
    """The power of ten to take out: none for sizes that read well as they are."""
    return 0 if 1e-3 <= size < 1e6 else math.floor(math.log10(size))


def _with_errors(value: float, up: float, down: float) -> str:
    places = _places(up, down)
    plus, minus = _fixed(up, places), _fixed(down, places)
    central = _fixed(value, places)
    return f"{central} ± {plus}" if plus == minus else f"{central} +{plus} −{minus}"


def _places(up: float, down: float) -> int:
    """Decimal places: two digits of the smaller error up to 3.54 (in its own power of ten), else one.

    An error under a tenth of the other does not add digits.
    """
    error = max(min(up, down), 0.1 * max(up, down))
    exponent = math.floor(math.log10(error))
    return min((1 if error / 10.0**exponent <= 3.54 else 0) - exponent, 10)


def _fixed(value: float, places: int) -> str:
    rounded = round(value, places) + 0.0
    return f"{rounded:.{max(places, 0)}f}".replace("-", "−")
