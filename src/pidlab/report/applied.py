"""The page on files without labels: what was selected and accepted, beside what the run lets expect, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pidlab.evaluate.results import Applied
from pidlab.measured import format_compact, format_share
from pidlab.report.offline import render_offline

FileRow = tuple[str, int, int, str]
"""An input, its rows, its selected rows, and a remark."""


class OfflinePicture(NamedTuple):
    """A figure of the page.

    Attributes:
        title: its heading.
        alt: what it shows, in words.
        svg: the drawing.
        width: the width of the drawing, in inches.
    """

    title: str
    alt: str
    svg: bytes
    width: float

    @property
    def least_width(self) -> float:
        """Returns the width in rem below which a narrow screen shows a part of the drawing and moves it."""
        return round(min(4.2 * self.width, 46.0), 1)


class PageTable(NamedTuple):
    """A table of the page; the first `n_names` columns hold text, the others numbers."""

    label: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_names: int = 1


def render_applied(
    applied: Applied,
    *,
    run: str,
    files: Sequence[FileRow],
    domain_sentence: str,
    scores: OfflinePicture | None,
    models: Sequence[tuple[str, Sequence[OfflinePicture]]],
    domain: Sequence[OfflinePicture],
    left_out: str,
    settings: Mapping[str, object],
) -> str:
    """Returns the page as HTML, the same for the same input; it needs neither scripts nor other files.

    Args:
        applied: what was counted.
        run: the name of the run.
        files: the inputs.
        domain_sentence: how well the files can be told from the run, or why that is not known.
        scores: the scores of all models; None if none has a score.
        models: for each model and working point its name and its figures, the first of which is open.
        domain: the figures of the comparison of files and run.
        left_out: a sentence on figures that were not drawn; empty if all were.
        settings: how it was made.
    """
    return render_offline(
        "applied.html.jinja",
        title=f"{run} applied to {_counted(len(files), 'input')}",
        made="made",
        question=f"What is taken for {applied.signal} in files without labels, beside the test sample of {run}.",
        verdict=verdict(applied),
        cautions=applied.notes,
        remarks=applied.remarks,
        points=_points(applied),
        cutflow=_cutflow(applied),
        expectation=expectation_sentence(applied),
        scores=scores,
        models=models,
        domain_sentence=domain_sentence,
        domain=domain,
        left_out=left_out,
        files=PageTable(
            "Files",
            "The inputs, their rows, and those that pass the selection.",
            ("Input", "Rows", "Selected", "Remark"),
            [(name, f"{n:,}", f"{n_selected:,}", remark) for name, n, n_selected, remark in files],
        ),
        settings=settings,
    )


def verdict(applied: Applied) -> str:
    """Returns what is selected, and what the first working point of the first model accepts, in sentences."""
    share = applied.n_selected / applied.n_rows if applied.n_rows else 0.0
    said = f"{applied.n_selected:,} of {_counted(applied.n_rows, 'row')} pass the selection ({format_share(share)} %)."
    point = next(((m, p) for m in applied.models for p in m.points), None)
    if point is None or not applied.n_selected:
        return said
    model, first = point
    return (
        f"{said} {model.name} accepts {first.n:,} of them as {applied.signal} at {first.name}: "
        f"{format_compact(first.share, 100)} %, where {format_compact(first.expected, 100)} % are expected for "
        f"{mixture_text(applied)}."
    )


def mixture_text(applied: Applied) -> str:
    """Returns the mixture of classes of the expectation, and where it comes from."""
    parts = ", ".join(f"{format_share(share)} % {name}" for name, share in applied.mixture.items())
    source = "that the configuration states" if applied.stated else "of the test sample"
    return f"the mixture {source} ({parts})"


def expectation_sentence(applied: Applied) -> str:
    """Returns how the expectation of the figures is made."""
    return (
        "Points are the rows of the files. The expectation (grey, with its statistical error) is "
        f"{mixture_text(applied)}, scaled to the {applied.n_selected:,} selected rows; the coloured lines are parts "
        "of single classes. Where the files hold the classes in another ratio, the points follow a sum of these lines "
        "with other factors."
    )


def _points(applied: Applied) -> PageTable:
    rows = [
        (
            model.name,
            point.name,
            f"{point.n:,}",
            format_compact(point.share, 100),
            format_compact(point.expected, 100),
            *(format_compact(point.rates[c], 100) if c in point.rates else "–" for c in applied.classes),
        )
        for model in applied.models
        for point in model.points
    ]
    columns = (
        "Model",
        "Point",
        "Accepted",
        "of the selected, %",
        "Expected, %",
        *(f"of {c}, %" for c in applied.classes),
    )
    text = (
        f"Rows that are accepted as {applied.signal}, their share of the {applied.n_selected:,} selected rows, and the "
        f"share that is expected for {mixture_text(applied)}. The last columns are the shares of each class that are "
        "accepted on test: whatever the mixture, the accepted share lies between the smallest and the largest of them "
        "if the files are like the run. 68.3 % intervals."
    )
    return PageTable("What is accepted", text, columns, rows, 2)


def _cutflow(applied: Applied) -> PageTable:
    rows = [
        (
            step.name,
            f"{step.n:,}",
            format_share(step.n / applied.n_rows) if applied.n_rows else "–",
            *(format_share(step.in_run[c]) if c in step.in_run else "–" for c in applied.classes),
        )
        for step in applied.cutflow
    ]
    text = "Rows that are left after each cut, their share, and the share of each class that was left in the run, in %."
    return PageTable(
        "Cut flow", text, ("Cut", "Rows", "of all, %", *(f"{c} in the run, %" for c in applied.classes)), rows
    )


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
