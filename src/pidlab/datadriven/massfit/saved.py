"""Saved: a fit as JSON, as ROOT objects and as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pidlab.datadriven.massfit.fit import Binned, Fit, FitParameter, histogram_of
from pidlab.evaluate.results import json_value
from pidlab.measured import Array
from pidlab.rootio import from_cells, tgraph, th1
from pidlab.rootio.results.named_object import of_matrix

N_BINS = 100
_CURVE = 401
_SHOWN = 3
"""Signal parameters that stand in the figure; the others are in the JSON."""


def as_json(fit: Fit) -> dict[str, Any]:
    """Returns a fit as what JSON can hold."""
    parameters = {name: _with_interval(parameter) for name, parameter in fit.parameters.items()}
    goodness = fit.goodness
    content: dict[str, Any] = json_value(
        {
            "range": [fit.low, fit.high],
            "n": fit.n,
            "method": fit.method,
            "valid": fit.valid,
            "problems": fit.problems,
            "components": {
                name: {"shape": shape, "yield": parameters[f"{name}.yield"]} for name, shape in fit.shapes.items()
            },
            "parameters": parameters,
            "correlation": {"names": fit.free, "matrix": fit.correlation},
            "goodness": {
                "chi2": goodness.chi2, "ndof": goodness.ndof, "p": goodness.p, "bins": len(goodness.observed)
            },
        }
    )  # fmt: skip
    return content


def _with_interval(parameter: FitParameter) -> dict[str, Any]:
    shared = {"shared": parameter.shared} if parameter.shared else {}
    about = {"error": parameter.error, "limits": parameter.limits, "fixed": parameter.fixed}
    return {**parameter.measured._asdict(), **about, **shared}


def coarse(data: Array | Binned, fit: Fit) -> Binned:
    """Returns the histogram that is drawn: 100 bins, or as many whole bins of a histogram as come near."""
    if isinstance(data, Binned):
        return data.merged(N_BINS)
    return histogram_of(data, fit.low, fit.high, int(np.clip(math.sqrt(max(len(data), 1)), 20, N_BINS)))


def root_objects(fit: Fit, data: Array | Binned, label: str) -> Iterator[tuple[str, Any]]:
    """Yields the histogram of the mass, the curves of the components, the pulls, parameters and correlations."""
    drawn = coarse(data, fit)
    centres, width = (drawn.edges[1:] + drawn.edges[:-1]) / 2, float(drawn.edges[1] - drawn.edges[0])
    axis = label.replace(";", "#;")
    yield "mass", th1(from_cells(drawn.counts, (drawn.edges,), drawn.variances), f"mass;{axis};candidates")
    total = fit.expected(drawn.edges)
    scale = np.sqrt(np.maximum(drawn.counts if drawn.variances is None else drawn.variances, 1.0))
    pull = (drawn.counts - total) / np.where(total >= 1, np.sqrt(total) if drawn.variances is None else scale, np.inf)
    yield "pulls", th1(from_cells(pull, (drawn.edges,), np.ones(len(centres)), entries=fit.n), f"pulls;{axis};pull")
    masses, curves = curve_of(fit, width)
    for name, values in curves.items():
        yield f"fit_{name}", tgraph(masses, values, f"{name};{axis};candidates")
    yield "fit", tgraph(masses, np.sum([*curves.values()], axis=0), f"fit;{axis};candidates")
    names = [*fit.parameters]
    values = np.array([fit.parameters[name].value for name in names])
    errors = np.nan_to_num([fit.parameters[name].error for name in names])
    edges = np.arange(len(names) + 1.0)
    yield "parameters", th1(from_cells(values, (edges,), errors**2, entries=len(names)), "parameters", names)
    if fit.free:
        for name, cells in (("correlation", fit.correlation), ("covariance", fit.covariance)):
            yield name, of_matrix(cells, fit.free, name, cells.size, np.zeros_like(cells))


def curve_of(fit: Fit, width: float) -> tuple[Array, Mapping[str, Array]]:
    """Returns masses (c,), and the expected counts (c,) of each component in a bin of this width there."""
    masses = np.linspace(fit.low, fit.high, _CURVE)
    return masses, {name: fit.yield_of(name).value * fit.pdf(name, masses) * width for name in fit.shapes}


def figure(fit: Fit, data: Array | Binned, label: str) -> Any:
    """Returns the figure of a fit, to be drawn within `pidlab.plots.canvas.style.context`."""
    from pidlab.plots.fits.mass import mass_figure

    drawn = coarse(data, fit)
    expected = {name: fit.expected(drawn.edges, name) for name in fit.shapes}
    errors = None if drawn.variances is None else np.sqrt(drawn.variances)
    curve = curve_of(fit, float(drawn.edges[1] - drawn.edges[0]))
    remarks = [with_error(name, fit.parameters[f"{name}.yield"]) for name in fit.shapes]
    signal = next(iter(fit.shapes))
    own = [
        p for n, p in fit.parameters.items() if n.startswith(f"{signal}.") and n in fit.free and not n.endswith("yield")
    ]
    remarks += [with_error(p.name, p) for p in own[:_SHOWN]]
    goodness = fit.goodness
    quality = f"χ²/ndf {goodness.chi2:.1f}/{goodness.ndof}, p {goodness.p:.2g}"
    remarks.append(quality if math.isfinite(goodness.p) else "goodness of fit not known")
    if not fit.valid:
        remarks.append("the fit failed")
    return mass_figure(drawn.edges, drawn.counts, expected, curve=curve, label=label, remarks=remarks, errors=errors)


def with_error(name: str, parameter: FitParameter) -> str:
    """Returns a parameter with its error, rounded to two digits of the error."""
    value, error = parameter.value, parameter.error
    if not math.isfinite(error) or error <= 0:
        return f"{name} {value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{name} {value:,.{digits}f} ± {error:,.{digits}f}"
