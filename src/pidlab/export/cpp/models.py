"""Writes trained models in C++: tables of numbers, and a function that passes them to the templates in `pieces.h`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pidlab.export.cpp.event import EventText
from pidlab.export.cpp.text import number, records, table
from pidlab.models.calibration import Calibrator, Isotonic, scale_and_offsets
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel
from pidlab.models.model import Model
from pidlab.models.registry import MODEL_TYPES, imported
from pidlab.preprocess.scaling import Scaler

EstimatorWriter = Callable[[str, Any, str, int], tuple[str, str]]
"""Takes a name, an estimator and the C++ name and the length of its input; returns tables and the end of a function."""

OutputWriter = Callable[[str, Any, str, int], tuple[str, str]]
"""The same for a function that returns the further numbers of an estimator, those of `outputs`."""


def model_text(name: str, model: Model, event: EventText) -> str:
    """Returns the function `scores_NAME(event, x)` and all that it uses; x is a pointer to the features.

    Raises:
        UsageError: its expression cannot be written in C++.
    """
    k, together = _n_own(model), _n_together(model)
    head = f"inline std::array<float, {n_scores(model)}> scores_{name}("
    if not model.fitted:
        return f"{head}const Event& event, const float*)\n{{\n{_expression(model, event)}}}\n"
    folds = [f"{name}_fold{i}" for i in range(len(model.fitted))]
    parts = zip(folds, model.fitted, strict=True)
    text = "".join(_fold(n, f, model) if isinstance(f, FoldModel) else _categories(n, f, model) for n, f in parts)
    calls = [f"{fold}(x)" for fold in folds]
    if model.calibration is not None:
        text += _calibration(f"calibrated_{name}", model.calibration, k)
        calls = [f"calibrated_{name}({call})" for call in calls]
    if len(calls) > 1:
        n = k + together
        calls = [f"mean(std::array<std::array<float, {n}>, {len(calls)}>{{{{{', '.join(calls)}}}}})"]
    answer = calls[0]
    if (m := len(model.output_names)) and not together:
        outputs = [f"{fold}_outputs(x)" for fold in folds]
        text += "".join(_outputs(f"{n}_outputs", f, model.kind) for n, f in zip(folds, model.fitted, strict=True))
        if len(outputs) > 1:
            outputs = [f"mean(std::array<std::array<float, {m}>, {len(outputs)}>{{{{{', '.join(outputs)}}}}})"]
        answer = f"joined({answer}, {outputs[0]})"
    return f"{text}{head}const Event&, const float* x)\n{{\n   return {answer};\n}}\n"


def n_scores(model: Model) -> int:
    """Returns the number of numbers that `scores_NAME` gives: scores, decisions without a score, further outputs."""
    return _n_own(model) + len(model.output_names)


def _n_own(model: Model) -> int:
    """Returns the number of scores of a model: one for each class, and the decisions of cuts without a score."""
    return len(model.recipe.classes) + len(model.per_point_cuts)


def _n_together(model: Model) -> int:
    """Returns the number of further outputs that the function of the scores gives too: those of regressors."""
    return 0 if "header_outputs" in MODEL_TYPES[model.kind].exports else len(model.output_names)


def _outputs(name: str, fitted: FoldModel | CategoryModel, kind: str) -> str:
    """Returns the function `NAME(x)` of the further outputs of a fold model, with categories those of the first."""
    result = f"std::array<float, {len(fitted.models[0].estimator.output_names)}>"
    if isinstance(fitted, CategoryModel):
        text, lines = "", []
        for category in fitted.categories:
            own = f"{name}_in_{category.name}"
            text += _outputs(own, category.model, kind)
            lines.append(f"   if (x[{category.column}] > 0) return {own}(x);\n")
        lines.append(f"   return nothing<{len(fitted.models[0].estimator.output_names)}>();\n")
        return f"{text}inline {result} {name}(const float* x)\n{{\n{''.join(lines)}}}\n"
    write: OutputWriter = imported(MODEL_TYPES[kind].exports["header_outputs"])
    own = f"   const float own[] = {{{', '.join(f'x[{j}]' for j in fitted.columns)}}};\n"
    tables, body = write(name, fitted.estimator, "own", len(fitted.columns))
    return f"{tables}inline {result} {name}(const float* x)\n{{\n{own}{body}}}\n"


def _expression(model: Model, event: EventText) -> str:
    """Returns the body for a model that is an expression, with the scores that `Model` gives it."""
    recipe, n_classes = model.recipe, len(model.recipe.classes)
    expression, where = recipe.expression_models[model.name].expression, f"models.{model.name}"
    if model.fixed_cut:
        value, other = f"{event.truth(where, expression)} ? 1.0f : 0.0f", "1 - signal"
    else:
        value, other = f"single(double({event.value(where, expression)}))", "-signal"
    other = other if n_classes == 2 else "std::numeric_limits<float>::quiet_NaN()"
    scores = ", ".join("signal" if i == recipe.signal else other for i in range(n_classes))
    return f"   const float signal = {value};\n   return {{{{{scores}}}}};\n"


def _calibration(name: str, calibration: Calibrator, n: int) -> str:
    """Returns the function `NAME(scores)` of a calibration."""
    if not isinstance(calibration, Isotonic):
        scale, offsets = scale_and_offsets(calibration, n)
        tables = table(f"{name}_offsets", np.array(offsets))
        body = f"   return vector_scaled(scores, {number(scale)}, {name}_offsets);\n"
    else:
        tables, heights = "", []
        for column, x, y in zip(calibration.columns, calibration.x, calibration.y, strict=True):
            tables += table(f"{name}_x{column}", x) + table(f"{name}_y{column}", y)
            heights.append(f"mapped({name}_x{column}, {name}_y{column}, scores[{column}])")
        one, other = "static_cast<float>(height)", "static_cast<float>(1 - height)"
        pair = f"{other}, {one}" if calibration.columns[0] == 1 else f"{one}, {other}"
        if n > 2:
            missing = "std::numeric_limits<float>::quiet_NaN()"
            pair = ", ".join(one if k == calibration.columns[0] else missing for k in range(n))
        body = f"   const double height = {heights[0]};\n   return {{{{{pair}}}}};\n"
        if len(heights) > 1:
            body = f"   return shares(std::array<double, {n}>{{{{{', '.join(heights)}}}}});\n"
    kind = f"std::array<float, {n}>"
    return f"{tables}inline {kind} {name}(const {kind}& scores)\n{{\n{body}}}\n"


def _categories(name: str, fitted: CategoryModel, model: Model) -> str:
    """Returns the function `NAME(x)` of the categories of a fold: the calibrated scores of the one that x is in.

    Predictions of a target are not calibrated.
    """
    n, text, lines = _n_own(model) + _n_together(model), "", []
    for category in fitted.categories:
        own, answer = f"{name}_in_{category.name}", f"{name}_in_{category.name}(x)"
        text += _fold(own, category.model, model)
        if category.calibration is not None:
            text += _calibration(f"calibrated_{own}", category.calibration, n)
            answer = f"calibrated_{own}({answer})"
        lines.append(f"   if (x[{category.column}] > 0) return {answer};\n")
    lines.append(f"   return nothing<{n}>();\n")
    return f"{text}inline std::array<float, {n}> {name}(const float* x)\n{{\n{''.join(lines)}}}\n"


def _band_columns(name: str, fitted: FoldModel) -> tuple[str, list[str]]:
    """Returns the functions of the bands of a fold model, and C++ for each of its numbers of sigmas."""
    text, values, functions = "", [], dict[int, str]()
    for band, output in fitted.band_columns:
        if id(band) not in functions:
            functions[id(band)] = f"{name}_band{len(functions)}"
            text += _outputs(functions[id(band)], band, "band")
        values.append(f"{functions[id(band)]}(x)[{output}]")
    return text, values


def _fold(name: str, fitted: FoldModel, model: Model) -> str:
    """Returns the function `NAME(x)` of one fold model, which scales its features and applies the estimator."""
    d = len(fitted.columns) + len(fitted.band_columns)
    bands, sigmas = _band_columns(name, fitted)
    lines = [f"   const float own[] = {{{', '.join([*(f'x[{j}]' for j in fitted.columns), *sigmas])}}};\n"]
    tables, source = "", "own"
    if fitted.scaler is not None:
        tables, scaled = _scaling(name, fitted.scaler)
        lines += scaled
        source, d = "scaled", d + len(fitted.scaler.indicators)
    if model.per_point_cuts:
        own_tables, body = "", _boxes(fitted.estimator, model, source)
    else:
        write: EstimatorWriter = imported(MODEL_TYPES[model.kind].exports["header"])
        own_tables, body = write(name, fitted.estimator, source, d)
    signature = f"inline std::array<float, {_n_own(model) + _n_together(model)}> {name}(const float* x)"
    return f"{bands}{tables}{own_tables}{signature}\n{{\n{''.join(lines)}{body}}}\n"


def _scaling(name: str, scaler: Scaler) -> tuple[str, list[str]]:
    tables, d = "", len(scaler.knots)
    lines = [f"   float scaled[{d + len(scaler.indicators)}];\n"]
    line = "on_broken_line" if scaler.clamp else "on_straight_line"
    for j, (knots, values) in enumerate(zip(scaler.knots, scaler.values, strict=True)):
        tables += table(f"{name}_knots{j}", knots) + table(f"{name}_values{j}", values)
        filled = f"std::isnan(own[{j}]) ? {number(scaler.fill[j])} : own[{j}]"
        lines.append(f"   scaled[{j}] = single({line}({name}_knots{j}, {name}_values{j}, {len(knots)}, {filled}));\n")
    lines += [f"   scaled[{d + i}] = std::isnan(own[{j}]) ? 1.0f : 0.0f;\n" for i, j in enumerate(scaler.indicators)]
    return tables, lines


def linear(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a linear classifier: its coefficients, and its margins as probabilities."""
    tables = table(f"{name}_coefficients", model.coefficients_) + table(f"{name}_intercept", model.intercept_)
    return tables, f"   return posterior(linear_margins({name}_coefficients, {name}_intercept, {x}));\n"


def likelihood(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a likelihood: the axis, the abundances, and the curves and tables of each detector."""
    from pidlab.models.likelihood.curves import FINE

    tables, added = _log_likelihoods(name, model, x)
    tables += table(f"{name}_prior", model.log_prior_) + table(f"{name}_prior_missing", model.log_prior_missing_)
    body = f"   auto margins = abundances({name}_prior, {name}_prior_missing, at, {FINE});\n"
    answer = "std::array<double, 1>{{margins[1] - margins[0]}}" if len(model.classes_) == 2 else "margins"
    return tables, f"{_position(name, model, x)}{body}{added}   return posterior({answer});\n"


def likelihood_outputs(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes the log-likelihood of the signal minus that of each other class, without abundances."""
    k = len(model.classes_)
    tables, added = _log_likelihoods(name, model, x)
    signal = int(np.flatnonzero(model.classes_ == model.signal)[0])
    values = ", ".join(f"single(margins[{signal}] - margins[{i}])" for i in range(k) if i != signal)
    body = f"   std::array<double, {k}> margins{{}};\n"
    return tables, f"{_position(name, model, x)}{body}{added}   return {{{{{values}}}}};\n"


def _position(name: str, model: Any, x: str) -> str:
    """Returns the line that finds the place of a candidate on the axis of a likelihood."""
    position = "0.0" if model.against_ is None else f"position({name}_axis, {x}[{model.against_}])"
    return f"   const double at = {position};\n"


def _log_likelihoods(name: str, model: Any, x: str) -> tuple[str, str]:
    """Returns the tables of a likelihood's detectors, and the lines that add their logarithms to `margins`."""
    from pidlab.models.likelihood import density
    from pidlab.models.likelihood.curves import FINE

    tables, body = "" if model.against_ is None else table(f"{name}_axis", model.axis_), ""
    options = f"at, {FINE}, {number(density.REACH)}, {number(density.last_node())}"
    for i, detector in enumerate(model.detectors_):
        own = f"{name}_detector{i}"
        arrays = {"curves": detector.curves, "tables": detector.tables, "weights": model.weights_[i]}
        tables += "".join(table(f"{own}_{what}", array) for what, array in arrays.items())
        values = ", ".join(f"{x}[{column}]" for column in detector.columns)
        body += f"   add_detector({', '.join(f'{own}_{what}' for what in arrays)}, {options}, {values}, margins);\n"
    return tables, body


def cuts(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes nested cuts: the faces of their windows, and the score of the tightest ones that a candidate passes."""
    tables, scores = "", []
    for k, windows in enumerate(model.windows_):
        of_chains = []
        for i, chain in enumerate(windows.chains()):
            part = f"{name}_class{k}" + (f"_chain{i}" if i else "")
            cut = [j for j in range(d) if np.isfinite(chain.low[-1, j]) or np.isfinite(chain.high[-1, j])]
            levels = [f"std::size_t({len(chain)})"]
            for j in cut:
                own = f"{part}_feature{j}"
                tables += table(f"{own}_low", chain.low[:, j].copy()) + table(f"{own}_high", chain.high[:, j].copy())
                levels.append(f"windows_passed({own}_low, {own}_high, {len(chain)}, {x}[{j}])")
            tables += table(f"{part}_scores", chain.level_score.astype(np.float32))
            of_chains.append(f"{part}_scores[std::min({{{', '.join(levels)}}})]")
        scores.append(of_chains[0] if len(of_chains) == 1 else f"std::max({{{', '.join(of_chains)}}})")
    unused = "" if "_feature" in tables else f"   static_cast<void>({x});\n"
    if len(model.classes_) > 2:
        return tables, f"{unused}   return {{{{{', '.join(scores)}}}}};\n"
    signal = int(np.flatnonzero(model.classes_ == model.signal)[0])
    pair = "1 - signal, signal" if signal else "signal, 1 - signal"
    return tables, f"{unused}   const float signal = {scores[0]};\n   return {{{{{pair}}}}};\n"


def _boxes(cuts: Any, model: Model, x: str) -> str:
    """Returns the body for cuts without a score: the first decision as scores of the classes, then all decisions."""
    recipe, decisions, body = model.recipe, [], f"   static_cast<void>({x});\n"
    for i, (_, efficiency) in enumerate(model.per_point_cuts):
        box = cuts.box(efficiency)
        faces = [f"{x}[{j}] > {number(v)}" for j, v in enumerate(box.low) if np.isfinite(v)]
        faces += [f"{x}[{j}] < {number(v)}" for j, v in enumerate(box.high) if np.isfinite(v)]
        body += f"   const float box{i} = {' && '.join(faces) or 'true'} ? 1.0f : 0.0f;\n"
        decisions.append(f"box{i}")
    other = "1 - box0" if len(recipe.classes) == 2 else "std::numeric_limits<float>::quiet_NaN()"
    classes = ["box0" if i == recipe.signal else other for i in range(len(recipe.classes))]
    return f"{body}   return {{{{{', '.join([*classes, *decisions])}}}}};\n"


def trees(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes boosted trees: their nodes, and the sum of their leaves as probabilities."""
    tables, body, margins = tree_margins(name, model.forest(), x, d)
    values = ", ".join(margins)
    return tables, f"{body}   return posterior(std::array<double, {len(margins)}>{{{{{values}}}}});\n"


def tree_margins(name: str, forest: Any, x: str, d: int) -> tuple[str, str, list[str]]:
    """Returns the tables of trees, the lines that prepare their input, and an expression for each margin."""
    from pidlab.models.bdt.forest import Tree

    trees: list[Tree] = sorted(forest.trees, key=lambda tree: tree.margin)
    flat = [_breadth_first(tree, d) for tree in trees]
    widest = max((max(slot, step) for nodes, _ in flat for _, slot, step in nodes), default=0)
    index = "std::uint16_t" if widest <= 0xFFFF else "std::uint32_t"
    sizes = np.array([len(nodes) for nodes, _ in flat], np.int64)
    nodes = (f"{{{number(value)}, {slot}, {step}}}" for own, _ in flat for value, slot, step in own)
    tables = records(f"Node<{index}>", f"{name}_nodes", nodes)
    tables += table(f"{name}_roots", (np.cumsum(sizes) - sizes).astype(np.uint32))
    tables += table(f"{name}_depths", np.array([depth for _, depth in flat], np.uint8))
    ends = np.searchsorted([tree.margin for tree in trees], np.arange(len(forest.base) + 1))
    # Leaf tables are added in double precision; xgboost adds one tree after the other in single precision.
    kind = "double" if forest.has_tables else "float"
    tree_tables = ", ".join(f"{name}_{each}" for each in ("nodes", "roots", "depths"))
    margins = [
        f"double(float(walked<{kind}>({tree_tables}, {first}, {last}, all.data(), {number(base)})))"
        for first, last, base in zip(ends[:-1], ends[1:], forest.base, strict=True)
    ]
    return tables, f"   const auto all = slots<{d}>({x});\n", margins


def _breadth_first(tree: Any, d: int) -> tuple[list[tuple[np.float32, int, int]], int]:
    """Returns (value or threshold, slot, step to the left child) of each node, children side by side, and the depth."""
    waiting, nodes, depth = [(0, 0)], [], 0
    for place, (node, level) in enumerate(waiting):  # the list grows during the loop
        depth = max(depth, level)
        if tree.left[node] < 0:
            nodes.append((np.float32(tree.value[node]), 2 * d, 0))
            continue
        slot = int(tree.feature[node]) + (0 if tree.missing_left[node] else d)
        nodes.append((np.float32(tree.threshold[node]), slot, len(waiting) - place))
        waiting += [(int(tree.left[node]), level + 1), (int(tree.right[node]), level + 1)]
    return nodes, depth


def network(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a network or an ensemble: weights and biases, and the mean of the members' probabilities."""
    from pidlab.models.mlp.inference import has_fast_path

    networks = model.networks_
    first = networks[0]
    shapes = [w.shape for w in first.weights]
    widest = max(out for out, _ in shapes)
    spoiled = f" + spoiled(x, {d})" if has_fast_path(first) else ""
    k = shapes[-1][0]
    tables, results, source = "", [], x
    x, body = "x", f"   float a[{widest}], b[{widest}];\n"
    for m, network in enumerate(networks):
        own = f"{name}_member{m}"
        tables += "".join(_matrices(own, network.weights, network.biases))
        body += _layers(own, shapes, first.activation, x)
        last = "ab"[(len(shapes) - 1) % 2]
        logits = ", ".join(f"double({last}[{i}]{spoiled})" for i in range(k))
        body += f"   const auto member{m} = posterior(std::array<double, {k}>{{{{{logits}}}}});\n"
        results.append(f"member{m}")
    answer, kind = results[0], f"std::array<float, {max(k, 2)}>"
    if len(results) > 1:
        answer = f"mean(std::array<{kind}, {len(results)}>{{{{{', '.join(results)}}}}})"
    scores = (
        f"   template <class Math>\n   static {kind} scores(const float* x)\n   {{\n{body}   return {answer};\n   }}\n"
    )
    return f"{tables}struct {name}_network {{\n{scores}}};\n", f"   return fastest<{name}_network>({source});\n"


def _matrices(name: str, weights: Any, biases: Any) -> Iterator[str]:
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        yield table(f"{name}_bias{i}", np.asarray(bias, np.float32))
        yield table(f"{name}_weights{i}", np.ascontiguousarray(np.asarray(weight, np.float32).T))


def _layers(name: str, shapes: list[tuple[int, int]], activation: str, x: str) -> str:
    """Returns the layers of one network, from `x` through the buffers a and b in turn."""
    text, source = "", x
    kind = activation.title().replace("_", "")  # of `pieces.h`: LeakyRelu for leaky_relu
    for i, (n_out, _) in enumerate(shapes):
        target = "ab"[i % 2]
        text += f"   layer<Math>({name}_bias{i}, {name}_weights{i}, {source}, {target});\n"
        if i < len(shapes) - 1 and activation == "maxout":
            text += f"   maxout({target}, {n_out // 2});\n"
        elif i < len(shapes) - 1:
            text += f"   activate<{kind}<Math>>({target}, {n_out});\n"
        source = target
    return text
