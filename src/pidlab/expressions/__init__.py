"""Expressions: text with the meaning that ROOT gives it, parsed and checked, evaluated on arrays or written as C++."""

from pidlab.expressions.check import check
from pidlab.expressions.cpp import to_cpp
from pidlab.expressions.evaluate import evaluate, selects
from pidlab.expressions.grammar import parse
from pidlab.expressions.kinds import Kind, Number, kind_from_array
from pidlab.expressions.polygons import Polygon
from pidlab.expressions.tree import ITERATION, Expression, branch_of, stored, whole_list
