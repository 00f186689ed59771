"""Report on files without labels: what was selected and accepted, beside what the run lets expect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pidlab import __version__
from pidlab.apply.inputs import UnreadableInput
from pidlab.apply.outputs import Summary
from pidlab.apply.scoring import score_branches
from pidlab.apply.tally import MOST_KEPT, Tallies, Tally, Watched
from pidlab.atomic import write_text
from pidlab.config.schema import RegressionConfig
from pidlab.credentials import address_without_secrets
from pidlab.errors import PidlabError, UsageError
from pidlab.evaluate.points.applied import CountedModel, Expectation, cut_flow
from pidlab.evaluate.results import Applied, AppliedModel, Results, Shift, json_value, read_results
from pidlab.preprocess.events import load
from pidlab.progress import Watcher
from pidlab.report.applied import OfflinePicture, render_applied
from pidlab.rootio.results.applied import write_applied
from pidlab.runs.bundle import Bundle
from pidlab.runs.manifest import verify
from pidlab.runs.shift import ROWS_AT_LEAST, as_json, as_mixture, rows_of, shift_between
from pidlab.runs.whole import filled_folder

SCHEMA = 1
_MOST_FIGURES = 12
"""Working points whose figures are drawn, about two seconds for each; of more, only those of the first model are."""


@dataclass(slots=True)
class ApplyReport:
    """The report of one call of `apply`: what is counted, and the page that is made of it.

    Attributes:
        bundle: the models.
        results: the results of the run, with what its test sample lets expect.
        tallies: what is counted, and was.
        unreadable: inputs that cannot be opened, which the page names.
    """

    bundle: Bundle
    results: Results
    tallies: Tallies
    unreadable: Sequence[UnreadableInput] = ()

    @classmethod
    def of(cls, bundle: Bundle) -> ApplyReport:
        """Returns the report of a finished run, before anything is counted.

        Raises:
            UsageError: the run does not hold what its test sample lets expect.
            ModelError: its results are damaged.
        """
        if bundle.folder is None:
            raise UsageError("a report compares with the results of a finished run, which this one is not yet")
        config = bundle.recipe.loaded.config
        if isinstance(config, RegressionConfig):
            raise UsageError(
                f"{bundle.folder}: predicts {config.predicted.value}, and a report counts decisions between classes; "
                "leave --report out"
            )
        verify(bundle.folder, "results.json")
        results = read_results(bundle.folder / "results.json")
        found = results.identified
        if found is None:
            raise UsageError(
                f"{bundle.folder}: is a run of an earlier version, which kept no distributions after identification to "
                f"compare with; `pidlab evaluate {bundle.folder}` measures them without training, or leave --report out"
            )
        known = {feature.name for feature, _ in bundle.recipe.features} | {name for name, _ in bundle.recipe.spectators}
        return cls(
            bundle,
            results,
            Tallies(
                Watched(
                    edges=tuple((name, tuple(e.tolist())) for name, e in found.edges.items() if name in known),
                    scores=tuple(_score_edges(bundle, results)),
                    decisions=tuple(
                        (model, point.name)
                        for model in bundle.models
                        for point in bundle.decisions[model]
                        if point.name in found.accepted.get(model, {})
                    ),
                )
            ),
        )

    def write(
        self, output: Path, summaries: Sequence[Summary], watcher: Watcher, *, n_jobs: int | None = None
    ) -> Path | None:
        """Writes `report.html`, `report.root` and `report.json` into `output`, all of them or none.

        Returns:
            The page; None without any row.

        Raises:
            OutputError: one cannot be written.
        """
        tally = self.tallies.whole
        if tally is None:
            return None
        shift = self._shift(tally, n_jobs, watcher)
        applied = self._applied(tally, summaries, shift if isinstance(shift, Shift) else None)
        provenance = self._provenance(summaries)
        numbers = json.dumps(_numbers(applied, provenance), indent=1, allow_nan=False)
        with filled_folder(output) as folder:
            write_applied(folder / "report.root", applied, json.dumps(provenance))
            write_text(folder / "report.json", numbers + "\n")
            write_text(folder / "report.html", self._page(applied, summaries, shift, watcher, provenance))
        return output / "report.html"

    def _applied(self, tally: Tally, summaries: Sequence[Summary], shift: Shift | None) -> Applied:
        """Returns what was counted, beside the expectation."""
        evaluate = self.bundle.recipe.loaded.config.evaluate
        abundance = evaluate.abundance or evaluate.expected
        n_selected = int(tally.steps[-1])
        expectation = Expectation(self.results, n_selected, abundance)
        models = []
        for name in self.bundle.models:
            rows = [i for i, (model, _) in enumerate(self.tallies.watched.decisions) if model == name]
            counted = CountedModel(
                tally.scores.get(name),
                {self.tallies.watched.decisions[i][1]: int(tally.n[i]) for i in rows},
                {variable: counts[rows] for variable, counts in tally.accepted.items()},
            )
            models.append(expectation.model(name, counted, tally.total, n_selected))
        ranked = [model.name for model in (*self.results.ranked, *self.results.models.values())]
        models.sort(key=lambda model: ranked.index(model.name))
        spectators = self.results.identified.spectators if self.results.identified is not None else ()
        return Applied(
            signal=self.results.signal,
            classes=self.results.classes,
            n_rows=int(tally.steps[0]),
            n_selected=n_selected,
            n_known=sum(s.n_known for s in summaries if not s.failure),
            mixture=expectation.mixture,
            stated=bool(abundance),
            cutflow=cut_flow(self.bundle.recipe.steps, tally.steps, self.results),
            models=tuple(models),
            spectators=tuple(name for name in spectators if name in tally.total),
            labels=self.bundle.recipe.loaded.config.axis_labels,
            shift=shift,
            notes=tuple(self._notes(tally, summaries, shift)),
            remarks=tuple(self._remarks()),
        )

    def _notes(self, tally: Tally, summaries: Sequence[Summary], shift: Shift | None) -> Iterator[str]:
        """Yields what a reader must be warned of."""
        n_failed = sum(bool(s.failure) for s in summaries) + len(self.unreadable)
        if n_failed:
            n = len(summaries) + len(self.unreadable)
            yield f"{n_failed} of {n} inputs could not be scored, and are in no number here."
        known = sum(s.n_known for s in summaries if not s.failure)
        if known:
            yield f"{known:,} of the selected rows are events of the run itself."
        if not tally.steps[-1]:
            yield "No row passes the selection."
        absent = [name for name, _ in self.tallies.watched.edges if name not in tally.total]
        if absent:
            yield f"Not every file has {', '.join(absent)}, which is left out here."
        if shift is not None and _differs(shift):
            yield shift.sentence

    def _remarks(self) -> Iterator[str]:
        """Yields how the expectation is to be read."""
        weights = {rule.weight.expression.text for rule in self.bundle.recipe.class_rules} - {"1"}
        if weights:
            said = ", ".join(sorted(weights))
            yield f"Each row of the files counts once; the events of the run count with their weights ({said})."
        yield (
            "The expectation holds the classes in a fixed ratio. The abundances in the files may be others; pidlab "
            "fractions fits them to the scores."
        )

    def _shift(self, tally: Tally, n_jobs: int | None, watcher: Watcher) -> Shift | str:
        """Returns how well the files can be told from the run, by some events of both; or why that is not known."""
        recipe = self.bundle.recipe
        if len(tally.event) < ROWS_AT_LEAST:
            n = len(tally.event) or "No"
            return f"{n} rows of the files were selected: too few to compare them with the events of the run."
        config = recipe.loaded.config
        few = min(config.events or MOST_KEPT, MOST_KEPT)
        drawn = replace(recipe.loaded, config=config.model_copy(update={"events": few}))
        try:
            events = load(replace(recipe, loaded=drawn), _Quiet(watcher))
        except PidlabError as error:
            return f"The events of the run cannot be read here, so that the files were not compared with them: {error}"
        d = len(recipe.features)
        if [f for f, _ in events.recipe.features] != [f for f, _ in recipe.features]:
            return "The features of the run's events changed since it was made: the files were not compared with them."
        abundance = config.evaluate.abundance or config.evaluate.expected
        ours = as_mixture(events.sample.with_x(events.sample.x[:, :d]), abundance)
        return shift_between(ours, rows_of(tally.x, tally.event, recipe), config.seed, n_jobs, _Quiet(watcher))

    def _provenance(self, summaries: Sequence[Summary]) -> dict[str, Any]:
        return {
            "pidlab": __version__,
            "run": str(self.bundle.folder),
            "fingerprint": self.bundle.fingerprint,
            "models": list(self.bundle.models),
            "inputs": [s.source.place for s in summaries if not s.failure],
        }

    def _page(
        self,
        applied: Applied,
        summaries: Sequence[Summary],
        shift: Shift | str,
        watcher: Watcher,
        provenance: Mapping[str, Any],
    ) -> str:
        from pidlab.plots.domain import domain_figures
        from pidlab.plots.exploring.applied import AppliedFigure, point_figures, score_figure

        def drawn(found: AppliedFigure) -> OfflinePicture:
            return _picture(found.name, found.title, found.alt, found.figure)

        models = applied.models if applied.n_selected else ()
        points = [(model, point) for model in models for point in model.points]
        some = points if len(points) <= _MOST_FIGURES else [(m, p) for m, p in points if m is models[0]]
        pictures = []
        with watcher.task("drawing", len(some), "working points") as task:
            for model, point in some:
                own = [drawn(found) for found in point_figures(applied, model, point)]
                pictures.append((f"{model.name} at {point.name}", own))
                task.advance()
        scores = score_figure(applied, models)
        domain = []
        if isinstance(shift, Shift):
            titles = {"domain": "A BDT between run and files", "domain_inputs": "The features that it uses"}
            domain = [
                _picture(name, titles[name], f"{titles[name]}: {shift.sentence}", figure)
                for name, figure in domain_figures(shift, applied.labels)
            ]
        left_out = ""
        if len(some) < len(points):
            left_out = (
                f"The figures of {models[0].name} are drawn. What those of the other models would show is in "
                "report.root, and --model NAME draws them."
            )
        settings = {key: value if isinstance(value, str) else ", ".join(value) for key, value in provenance.items()}
        return render_applied(
            applied,
            run=self.bundle.recipe.loaded.name if self.bundle.folder is None else self.bundle.folder.name,
            files=[
                *((s.source.place, s.n_rows, s.n_selected, s.failure or "was finished" * s.skipped) for s in summaries),
                *((address_without_secrets(each.name), 0, 0, each.reason) for each in self.unreadable),
            ],
            domain_sentence=shift.sentence if isinstance(shift, Shift) else shift,
            scores=None if scores is None else drawn(scores),
            models=pictures,
            domain=domain,
            left_out=left_out,
            settings={key: value for key, value in settings.items() if key != "inputs"},
        )


def _picture(name: str, title: str, alt: str, figure: Any) -> OfflinePicture:
    """Returns the drawing of a figure of matplotlib."""
    from pidlab.plots.gallery import rendered

    return OfflinePicture(title, alt, rendered(figure, name, "svg")["svg"], float(figure.get_figwidth()))


class _Quiet(Watcher):
    """Passes on the progress of a comparison, and keeps its notes, which are about a first look at the run."""

    def __init__(self, watcher: Watcher) -> None:
        self.task = watcher.task  # type: ignore[method-assign]  # a pure pass-through


def _score_edges(bundle: Bundle, results: Results) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yields the bin edges of the score of each model that has a distribution of scores."""
    for name, model in bundle.models.items():
        result = results.models[name]
        by_class = result.response.get("test", {})
        if score_branches(name, model) and by_class and not result.fixed_cut:
            yield name, tuple(next(iter(by_class.values())).edges.tolist())


def _differs(shift: Shift) -> bool:
    """Returns whether a classifier tells files and run apart by two standard deviations."""
    return shift.auc.value - 0.5 > 2 * max(shift.auc.value - shift.auc.low, shift.auc.high - shift.auc.value)


def _numbers(applied: Applied, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `report.json`, which leaves the distributions to `report.root`."""
    return {
        "schema": SCHEMA,
        "signal": applied.signal,
        "n_rows": applied.n_rows,
        "n_selected": applied.n_selected,
        "n_known": applied.n_known,
        "mixture": {"shares": json_value(applied.mixture), "stated": applied.stated},
        "cutflow": json_value(applied.cutflow),
        "models": {model.name: _model_numbers(model) for model in applied.models},
        "domain": None if applied.shift is None else as_json(applied.shift),
        "notes": [*applied.notes, *applied.remarks],
        "provenance": dict(provenance),
    }


def _model_numbers(model: AppliedModel) -> dict[str, Any]:
    names = ("name", "n", "share", "expected", "rates")
    return {
        "type": model.kind,
        "working_points": [{name: json_value(getattr(point, name)) for name in names} for point in model.points],
    }
