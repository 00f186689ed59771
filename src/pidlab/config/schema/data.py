"""The events: their files and weights, the classes, polygons, and how the events are divided into samples."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from pidlab.config.schema.base import Expression, Fraction, Name, Section

_BEST = re.compile(r"\s*(max|min)\s*\((.+)\)\s*", re.DOTALL)


def _is_best(text: str) -> str:
    """Checks a text such as `max(energy)`.

    Raises:
        ValueError: it is of another form.
    """
    if not _BEST.fullmatch(text):
        raise ValueError(f"must be max(expression) or min(expression), not {text!r}")
    return text


class Data(Section):
    """The events: files, trees, friends and weights."""

    files: str | list[str] | None = Field(None, description="path, glob, file.root:tree or @LIST, or a list of them")
    tree: str | None = Field(None, description="may be left out if a file holds one tree")
    columns: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="names of the columns of csv and npy files that do not name them"
    )
    friends: list[str] = Field(
        default_factory=list,
        description="trees whose entries belong to the input's: by their stored index or event_id, else by number; "
        "{stem}, {folder} and {tree} are the input's",
    )
    per: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="one row for each candidate of this jagged collection"
    )
    best: Annotated[Expression, AfterValidator(_is_best)] | None = Field(
        None,
        description="of the candidates of an event that pass the selection, only the one with the largest or smallest "
        "value stays: max(expression) or min(expression)",
    )
    event_id: list[str] = Field(default_factory=list, description="integer branches that identify an event")
    weight: Expression = Field("1", description="weight of each row, of any sign; used in training and in every result")
    aliases: dict[Name, Expression] = Field(
        default_factory=dict, description="short names that all expressions may use"
    )

    @property
    def best_by(self) -> tuple[str, str] | None:
        """`max` or `min`, and the expression by which the best candidate of an event is found; None if all stay."""
        match = _BEST.fullmatch(self.best) if self.best is not None else None
        return (match[1], match[2]) if match else None


Point = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)]


class PolygonSection(Section):
    """A polygon in a plane of two expressions, which `cutg("name")` asks: true inside, as TCutG::IsInside decides."""

    x: Expression | None = Field(None, description="horizontal axis; left out: fVarX of the TCutG")
    y: Expression | None = Field(None, description="vertical axis; left out: fVarY of the TCutG")
    points: Annotated[list[Point], Field(min_length=3, max_length=10_000)] | None = Field(
        None, description="corners [x, y]; the last one is joined with the first"
    )
    file: str | None = Field(
        None, min_length=1, description="file.root:name of a TCutG, relative to this file; its points go into the run"
    )


class ClassTable(Section):
    """A class that has its own table, cut or weight."""

    files: str | list[str] | None = Field(None, description="files of the class; left out: those of data")
    tree: str | None = Field(None, description="tree in these files; left out: that of data")
    cut: Expression = Field("1", description="true for the rows of this class")
    weight: Expression | None = Field(None, description="weight of its rows; left out: that of data")


class Split(Section):
    """How the events are divided into training, validation and test samples."""

    test: Fraction | Expression = Field(0.25, description="share of all events, or an expression true for test")
    validation: Fraction = Field(0.15, description="share of the events that are not test events")
    seed: int = Field(1, description="another seed divides the events in another way")
