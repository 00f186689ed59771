"""TMVA's weight files, written by hand to the layout that its Factory gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Tree = dict[str, Any]
"""A leaf {"nType", "purity", "res"}, or a node {"variable", "cut", "type", "left", "right"}."""


def weight_file(
    method: str,
    weights: str,
    options: Mapping[str, Any],
    variables: Sequence[tuple[str, str]] = (("a", "a"), ("b", "b"), ("c", "c")),
    transformations: Sequence[str] = (),
    analysis: str = "Classification",
    release: str = "4.2.1 [262657]",
) -> bytes:
    """The XML of a method; `variables` are (expression, label)."""
    told = "\n".join(f'    <Option name="{k}" modified="Yes">{v}</Option>' for k, v in options.items())
    named = "\n".join(
        f'    <Variable VarIndex="{i}" Expression="{e}" Label="{la}" Title="{la}" Unit="" Internal="{la}" Type="F" '
        f'Min="-4.0e+00" Max="4.0e+00"/>'
        for i, (e, la) in enumerate(variables)
    )
    return f"""<?xml version="1.0"?>
<MethodSetup Method="{method}::{method}">
  <GeneralInfo>
    <Info name="TMVA Release" value="{release}"/>
    <Info name="ROOT Release" value="6.14/04 [396804]"/>
    <Info name="AnalysisType" value="{analysis}"/>
  </GeneralInfo>
  <Options>
{told}
  </Options>
  <Variables NVar="{len(variables)}">
{named}
  </Variables>
  <Spectators NSpec="0"/>
  <Classes NClass="2">
    <Class Name="Signal" Index="0"/>
    <Class Name="Background" Index="1"/>
  </Classes>
  <Transformations NTransformations="{len(transformations)}">
{"".join(transformations)}
  </Transformations>
  <MVAPdfs/>
{weights}
</MethodSetup>
""".encode()


def random_tree(rng: np.random.Generator, depth: int, n_variables: int = 3) -> Tree:
    """A tree of up to `depth` levels, its cuts in float32."""
    if depth == 0 or rng.random() < 0.15:
        purity = float(np.float32(rng.random()))
        return {"nType": 1 if purity > 0.5 else -1, "purity": purity, "res": float(np.float32(rng.normal() * 0.2))}
    return {
        "variable": int(rng.integers(n_variables)),
        "cut": float(np.float32(rng.normal())),
        "type": int(rng.integers(2)),
        "left": random_tree(rng, depth - 1, n_variables),
        "right": random_tree(rng, depth - 1, n_variables),
    }


def _node(tree: Tree, position: str, depth: int) -> str:
    if "nType" in tree:
        return (
            f'<Node pos="{position}" depth="{depth}" NCoef="0" IVar="-1" Cut="0.0e+00" cType="1" '
            f'res="{tree["res"]:.9e}" rms="0.0e+00" purity="{tree["purity"]:.9e}" nType="{tree["nType"]}"/>'
        )
    return (
        f'<Node pos="{position}" depth="{depth}" NCoef="0" IVar="{tree["variable"]}" Cut="{tree["cut"]:.9e}" '
        f'cType="{tree["type"]}" res="-9.9e+01" rms="0.0e+00" purity="5.0e-01" nType="0">'
        f"{_node(tree['left'], 'l', depth + 1)}{_node(tree['right'], 'r', depth + 1)}</Node>"
    )


def forest(trees: Sequence[Tree], weights: Sequence[float], analysis: int = 0) -> str:
    """The <Weights> of a BDT."""
    texts = [
        f'<BinaryTree type="DecisionTree" boostWeight="{w:.9e}" itree="{i}">{_node(tree, "s", 0)}</BinaryTree>'
        for i, (tree, w) in enumerate(zip(trees, weights, strict=True))
    ]
    return f'<Weights NTrees="{len(trees)}" AnalysisType="{analysis}">{"".join(texts)}</Weights>'


def leaf_of(tree: Tree, event: Sequence[float]) -> Tree:
    """Where one event ends up: right where x >= cut for cType 1, and where not x >= cut for cType 0."""
    while "nType" not in tree:
        at_least = bool(np.float32(event[tree["variable"]]) >= np.float32(tree["cut"]))
        tree = tree["right"] if at_least == bool(tree["type"]) else tree["left"]
    return tree


def layout(weights: Sequence[np.ndarray]) -> str:
    """The <Weights> of an MLP from (neurons + bias, following neurons) matrices."""
    layers = []
    for i, matrix in enumerate(weights):
        neurons = [
            f'<Neuron NSynapses="{matrix.shape[1]}">\n{" ".join(f"{w:.16e}" for w in row)} \n</Neuron>'
            for row in matrix
        ]
        layers.append(f'<Layer Index="{i}" NNeurons="{len(matrix)}">{"".join(neurons)}</Layer>')
    layers.append(f'<Layer Index="{len(weights)}" NNeurons="1"><Neuron NSynapses="0"/></Layer>')
    return f'<Weights><Layout NLayers="{len(layers)}">{"".join(layers)}</Layout></Weights>'


def coefficients(values: Sequence[float], method: str = "Fisher") -> str:
    """The <Weights> of Fisher or LD, the offset first."""
    index = 'Index="{}"' if method == "Fisher" else 'IndexOut="0" IndexCoeff="{}"'
    texts = [f'<Coefficient {index.format(i)} Value="{v:.16e}"/>' for i, v in enumerate(values)]
    return f'<Weights NOut="1" NCoeff="{len(values)}">{"".join(texts)}</Weights>'


def _selection(names: Sequence[str]) -> str:
    inputs = "".join(f'<Input Type="Variable" Label="{n}" Expression="{n}"/>' for n in names)
    outputs = inputs.replace("Input", "Output")
    return (
        f'<Selection><Input NInputs="{len(names)}">{inputs}</Input>'
        f'<Output NOutputs="{len(names)}">{outputs}</Output></Selection>'
    )


def normalisation(ranges: Sequence[Sequence[tuple[float, float]]], names: Sequence[str]) -> str:
    """A Normalize transformation: for signal, background and all, a range a variable."""
    classes = []
    for i, each in enumerate(ranges):
        texts = [f'<Range Index="{j}" Min="{lo:.16e}" Max="{hi:.16e}"/>' for j, (lo, hi) in enumerate(each)]
        classes.append(f'<Class ClassIndex="{i}"><Ranges>{"".join(texts)}</Ranges></Class>')
    return f'<Transform Name="Normalize">{_selection(names)}{"".join(classes)}</Transform>'


def decorrelation(matrices: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """A Decorrelation transformation: a matrix for signal, background and all."""
    texts = [
        f'<Matrix Rows="{len(m)}" Columns="{len(m)}">\n{" ".join(f"{v:.16e}" for v in m.ravel())} \n</Matrix>'
        for m in matrices
    ]
    return f'<Transform Name="Decorrelation">{_selection(names)}{"".join(texts)}</Transform>'
