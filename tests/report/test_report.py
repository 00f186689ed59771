"""The report tells every number it is given, needs nothing from outside, and shows text as text."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import math
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from example_results import example
from pidlab.errors import OutputError
from pidlab.evaluate.results import Comparison, PairedPoint, Results, Scoring
from pidlab.measured import UNDEFINED, Measured, format_measured, format_number, format_percent
from pidlab.plots.gallery import Picture, catalogue
from pidlab.plots.sheets.sheet import root_key
from pidlab.plots.sheets.table import FigureTable
from pidlab.report import page as report
from pidlab.report.headline import below_chance, few_events, headline
from pidlab.report.page import objects_of, render, write_report
from pidlab.report.tables import as_html, as_text, models_table, robustness_table, verdict_table
from pidlab.rootio.results.run import object_names, write_results

TWO = example()
THREE = example(("electron", "pion", "kaon"))
SVG = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'><path id='p' d='M0 0h1'/></svg>"
PICTURES = [
    Picture(name, f"Title of {name}", f"What {name} <shows>", SVG, section=section)
    for name, section in {
        "roc": "first", "roc_pion": "points", "inputs": "inputs", "response_mlp": "response",
        "efficiency_p_mlp": "efficiency", "robustness_smear": "robustness", "odd_one": "more",
    }.items()
]  # fmt: skip
CONFIG = "models:\n  mlp: {type: mlp} # <script>alert('x')</script> & more\n"
MANIFEST = {
    "versions": {"numpy": "2.1", "torch": "2.13"},
    "inputs": [{"file": "a<b>.root", "sha256": "f00"}],
    "seed": 7,
}


def page(results=TWO, **changes):
    given = {"title": "A & B", "config_yaml": CONFIG, "manifest": MANIFEST, "figures": PICTURES} | changes
    return render(results, **given)


class Outline(HTMLParser):
    """What a browser would build: tags with attributes, text, and whether all tags close."""

    void = frozenset(("meta", "img", "br", "link", "input"))

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.mistakes = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


# numbers


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.9912, 0.9906, 0.9917, "0.9912 +0.0005 −0.0006"),
        (0.99123, 0.99077, 0.99169, "0.9912 ± 0.0005"),
        (0.5, 0.498, 0.502, "0.5000 ± 0.0020"),
        (12345.0, 11645.0, 13045.0, "12300 ± 700"),
        (118.2, 97.9, 142.4, "118 +24 −20"),
        (-0.00214, -0.00264, -0.00164, "−0.0021 ± 0.0005"),
        (3.14e-5, 2.9e-5, 3.4e-5, "(3.14 +0.26 −0.24)×10⁻⁵"),
        (2.5e7, 2.4e7, 2.6e7, "(2.50 ± 0.10)×10⁷"),
        (0.0, 0.0, 0.0005, "(0.0 +5.0 −0.0)×10⁻⁴"),
        (math.inf, 830.4, math.inf, "> 830"),
        (math.inf, math.nan, math.inf, "∞"),
        (120.0, 80.0, math.inf, "120 [80, ∞]"),
        (1.02, 0.97, 1.0, "1.020 [0.970, 1.000]"),
        (0.25, 0.25, 0.25, "0.25"),
        (math.nan, math.nan, math.nan, "–"),
    ],
)
def test_measured_numbers_are_rounded_by_their_errors(value, low, high, text):
    assert format_measured(Measured(value, low, high, 100.0)) == text


def test_numbers_without_errors():
    assert [format_number(v) for v in (0.123456, -2.0, math.nan, math.inf, -math.inf, None)] == [
        "0.1235", "−2", "–", "∞", "−∞", "–",
    ]  # fmt: skip


# the verdict


def with_lead(delta):
    """TWO, with the comparison of cuts and mlp (a, b) replaced."""
    pairs = tuple(
        dataclasses.replace(c, delta_auc=delta) if (c.a, c.b) == ("cuts", "mlp") else c for c in TWO.comparisons
    )
    return dataclasses.replace(TWO, comparisons=pairs)


def test_the_verdict_names_the_best_model_and_its_lead():
    assert [model.name for model in TWO.ranked] == ["mlp", "cuts"]
    text = headline(with_lead(Measured(0.0300, 0.0290, 0.0312, 9.0)))
    assert text.startswith(
        f"mlp separates electron best: AUC {format_measured(TWO.models['mlp'].samples['test'].auc)} on test."
    )
    assert "over cuts, ΔAUC = 0.0300 +0.0012 −0.0010 on the same events, is significant (30.0 standard errors)." in text


@pytest.mark.parametrize(("low", "significant"), [(0.0011, True), (0.0009, False), (-0.003, False)])
def test_a_lead_is_significant_from_two_standard_errors_on(low, significant):
    text = headline(with_lead(Measured(0.002, low + 1e-9, 0.003, 9.0)))
    assert ("is significant" in text, "is not significant" in text) == (significant, not significant)


def test_the_lead_is_turned_round_where_the_best_model_is_a():
    turned = tuple(
        dataclasses.replace(c, a=c.b, b=c.a, delta_auc=Measured(-0.03, -0.0312, -0.029, 9.0))
        for c in TWO.comparisons[-1:]
    )
    assert "ΔAUC = 0.0300 +0.0012 −0.0010" in headline(dataclasses.replace(TWO, comparisons=turned))


def test_the_verdict_without_comparison_curve_or_rival():
    assert "was not compared event by event" in headline(dataclasses.replace(TWO, comparisons=()))
    assert "was not compared" in headline(with_lead(UNDEFINED))
    hand = dataclasses.replace(TWO, models={"hand": TWO.models["hand"]})
    assert headline(hand) == "No model here has a curve, so none can be called best."
    alone = dataclasses.replace(TWO, models={"mlp": TWO.models["mlp"]})
    assert headline(alone).endswith("No other model has an AUC to compare with.")


# the page


@pytest.mark.parametrize("results", [TWO, THREE])
def test_every_model_and_number_is_there(results):
    words = Outline(page(results)).words
    for model in results.models.values():
        areas = [metrics.auc for metrics in model.samples.values()]
        rates = [m for metrics in model.samples.values() for m in (metrics.accuracy, metrics.balanced_accuracy)]
        for point in model.working_points:
            rates += [point.efficiency, *point.misid.values(), point.purity]
            areas += [*point.rejection.values()]
        assert [format_measured(m) for m in areas if format_measured(m) not in words] == []
        assert [format_percent(m) for m in rates if format_percent(m) not in words] == []
        assert model.name in words
        assert model.cut_string in words
        assert model.note in words
    for pair in results.comparisons:
        assert format_measured(pair.delta_auc) in words
        for point in pair.working_points:
            assert format_percent(point.delta_misid) in words
    for step in results.cutflow:
        assert f"{step.name} {step.passed['electron']:,}" in words
    assert all(note in words for note in results.notes)


def test_the_sentences_against_the_hand_cuts_are_the_measured_ones():
    words = Outline(page()).words
    by_hand = [p.verdict for pair in TWO.comparisons if pair.a == "hand" for p in pair.working_points]
    assert by_hand
    assert all(sentence in words for sentence in by_hand)


def test_robustness_is_told_by_what_breaks_and_a_sentence_for_the_rest():
    """It was a row of "holds" for each of forty changes."""
    words = Outline(page()).words
    assert "Change cuts mlp smear all 0.02 0.02 drop log_npe breaks breaks" in words
    assert "No other change that was tried breaks a model: shift (1 of 1)." in words
    holds = {name: dataclasses.replace(r, breaks_at=dict.fromkeys(r.breaks_at)) for name, r in TWO.robustness.items()}
    firm = dataclasses.replace(TWO, robustness=holds)
    assert robustness_table(firm).rows == ()
    assert "No model breaks: smear (1 of 1), shift (1 of 1), drop (1 of 1)." in Outline(page(firm)).words


def test_text_is_shown_as_text():
    text = page()
    assert text.count("<script") == 1, "the page's own"
    outline = Outline(text)
    assert "<script>alert('x')</script> & more" in outline.words
    assert "a<b>.root" in outline.words
    assert "What roc <shows>" in outline.attributes("alt")
    assert "step 2 <2" in outline.words


def test_what_a_note_quotes_as_code_is_shown_as_code():
    noted = dataclasses.replace(TWO, notes=("Without `events` all <are> used.",))
    assert "<li>Without <code>events</code> all &lt;are&gt; used.</li>" in page(noted)


def test_nothing_is_fetched_from_outside():
    text = page()
    outline = Outline(text)
    for attribute in ("src", "href", "srcset", "data", "action", "poster"):
        allowed = ("data:image/svg+xml;base64,", "data:text/csv;base64,", "#")
        assert all(value.startswith(allowed) for value in outline.attributes(attribute))
    assert {tag for tag, _ in outline.tags}.isdisjoint({"link", "iframe", "object", "base"})
    assert "url(" not in text
    assert "@import" not in text
    policy = next(
        attrs["content"] for tag, attrs in outline.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize("results", [TWO, THREE])
def test_the_page_is_well_formed_and_accessible(results):
    outline = Outline(page(results))
    assert (outline.mistakes, outline.open) == ([], [])
    identifiers = outline.attributes("id")
    assert len(identifiers) == len(set(identifiers))
    assert {value.removeprefix("#") for value in outline.attributes("href")} <= set(identifiers)
    assert {attrs["aria-labelledby"] for tag, attrs in outline.tags if tag == "section"} <= set(identifiers)
    assert all(attrs.get("alt") for tag, attrs in outline.tags if tag == "img")
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    assert dict(outline.tags)["html"] == {"lang": "en"}
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")


def test_every_picture_is_shown_once_and_the_roc_comes_first():
    alts = Outline(page()).attributes("alt")
    assert sorted(alts) == sorted(p.alt for p in PICTURES)
    assert alts[0] == "What roc <shows>"


def test_light_dark_and_print():
    text = page()
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_what_has_no_content_is_absent():
    empty = Results("e", ("e", "pi"), ("x",), {}, (), {}, (), {}, {}, {})
    outline = Outline(page(empty, figures=[], manifest={}))
    assert (outline.mistakes, outline.open) == ([], [])
    assert [i for i in outline.attributes("id") if not i.endswith("-heading")] == ["models", "configuration"]


def test_the_same_input_gives_the_same_bytes():
    assert page() == page()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    path: Path = tmp_path / "missing" / "report.html"
    with pytest.raises(OutputError, match=r"report\.html: the report cannot be written \(No such file"):
        write_report(path, page())


# numbers and objects of figures


def test_the_numbers_of_a_figure_are_a_file_in_the_page():
    table = FigureTable(("cut", "e, all"), (("a,b", 3), ('say "x"', math.nan), ("µ", 0.1 + 0.2)))
    text = page(figures=[Picture("roc", "T", "What it shows", SVG, table)])
    source = next(href for href in Outline(text).attributes("href") if href.startswith("data:text/csv"))
    content = base64.b64decode(source.partition(",")[2]).decode()
    assert content == 'cut,"e, all"\r\n"a,b",3\r\n"say ""x""",\r\nµ,0.30000000000000004\r\n'
    assert "(3 rows)" in Outline(text).words


@pytest.mark.parametrize("section", ["calibration", "importance", "merit", "pairs", "response", "points", "more"])
def test_each_section_shows_its_figures_and_has_a_place_in_the_navigation(section):
    text = page(figures=[Picture("some_figure", "T", "What it shows", SVG, section=section)])
    inside = text[text.index(f'<section id="{section}"') :]
    assert 'id="figure-some_figure"' in inside[: inside.index("</section>")]
    assert f'<a href="#{section}">' in text
    assert Outline(text).mistakes == []


def test_every_figure_of_a_run_has_a_section_of_the_report():
    for results in (TWO, THREE):
        sections = {sheet.section for sheet in catalogue(results).values()}
        assert sections <= {"first", *report._TITLES}
        assert "more" not in sections


@pytest.mark.parametrize(
    ("figure", "objects"),
    [
        ("roc", ["mlp/rejection", "mlp/roc"]),
        ("roc_kaon", ["mlp/rejection_kaon", "mlp/roc_kaon"]),
        ("response_mlp", ["mlp/score_electron", "mlp/score_pion"]),
        (
            "efficiency_P_gtr_p_mlp",
            ["mlp/efficiency_p_eff90_graph", "mlp/efficiency_p_eff90", "mlp/misid_pion_p_eff90"],
        ),
        ("map_P_gtr_p_P_gtr_th_mlp", ["maps/mlp/efficiency_p_th_eff90_value", "maps/mlp/efficiency_p_th_eff90"]),
    ],
)
def test_a_figure_knows_the_objects_that_show_the_same(figure, objects):
    others = ["cuts/score_electron", "inputs/x_electron", "cuts/efficiency_p_eff90", "maps/cuts/efficiency_p_th_eff90"]
    sheet = catalogue(THREE)[figure]
    found = objects_of(Picture(figure, "T", "A", SVG, objects=sheet.objects), sorted({*others, *objects}))
    assert sorted(found) == sorted(objects)
    assert found[0] == objects[0]


def test_every_object_of_an_input_is_behind_the_figure_that_shows_it(tmp_path):
    """Names of features decide nothing: one that begins with "co" was once taken for a correlation."""
    write_results(tmp_path / "results.root", TWO, "{}")
    names = [n for n in object_names(tmp_path / "results.root") if n.startswith("inputs/")]
    inputs = catalogue(TWO)["inputs"].objects
    ratios = catalogue(TWO)["signal_ratio"].objects
    assert {f"inputs/{root_key(f)}_ratio_pion" for f in TWO.features} == set(ratios) & set(names)
    assert list(inputs) == [name for name in names if "correlation" not in name and name not in ratios]
    assert any(name.startswith("inputs/co") for name in inputs)


def test_the_page_carries_the_root_file_and_jsroot_or_says_that_it_is_too_large(tmp_path, monkeypatch):
    few = dataclasses.replace(TWO, models={}, comparisons=(), robustness={}, inputs={}, correlation={})
    write_results(tmp_path / "results.root", few, "{}")
    text = page(few, root_file=tmp_path / "results.root")
    held = re.search(r'id="results-root">([^<]*)<', text)
    assert base64.b64decode(held[1]) == (tmp_path / "results.root").read_bytes()
    monkeypatch.setattr(report, "MOST_BYTES", 10)
    without = page(few, root_file=tmp_path / "results.root")
    assert "too large to be carried by this page" in Outline(without).words
    assert 'id="jsroot"' not in without
    assert "cutflow/electron" in Outline(without).words


def test_the_vendored_jsroot_is_the_file_that_its_licence_names():
    assets = files("pidlab.report").joinpath("assets")
    content = gzip.decompress(assets.joinpath("jsroot.min.js.gz").read_bytes())
    licence = assets.joinpath("jsroot.LICENSE").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in licence
    assert "Permission is hereby granted, free of charge" in licence
    assert content.startswith(b"// https://root.cern/js/ v7.11.2")


def test_scoring_and_training_time_stand_in_the_first_table():
    models = {name: dataclasses.replace(m, scoring=Scoring(50_000, 0.04)) for name, m in TWO.models.items()}
    words = Outline(page(dataclasses.replace(TWO, models=models))).words
    assert "12.3 s 1.2 M/s" in words


# what is true


def judged_pair(a, b, *, auc, auc_p, points=(), n=20):
    """A comparison: ΔAUC with a standard error of .001, and (name, winner) at working points."""
    paired = tuple(
        PairedPoint(
            name, "pion", 0.9, Measured(d := -0.01 if winner == b else 0.01, d - 0.002, d + 0.002, 9.0),
            Measured(2.0, 1.5, 2.5, 9.0), f"words, p = 0.03 after Holm's correction for {n} comparisons",
            0.001, 0.03, winner,
        )
        for name, winner in points
    )  # fmt: skip
    return Comparison(a, b, Measured(auc, auc - 0.001, auc + 0.001, 9.0), paired, auc_p, auc_p, n)


def of_pairs(*pairs):
    return dataclasses.replace(TWO, comparisons=pairs)


def test_below_two_standard_errors_or_the_corrected_95_per_cent_models_are_level():
    """It was "best" for the largest AUC whatever the lead; 3 standard errors of one pair among 40 are level, too."""
    for auc, p in ((0.0015, 0.2), (0.003, 0.11)):
        text = headline(of_pairs(judged_pair("cuts", "mlp", auc=auc, auc_p=p)))
        assert text.startswith("mlp and cuts are level in AUC on test (mlp 0.97")
        assert "none is shown to be the best" in text
        assert "is not significant (" in text
        assert " best: " not in text
        assert 'class="best"' not in page(of_pairs(judged_pair("cuts", "mlp", auc=auc, auc_p=p)))
    led = of_pairs(judged_pair("cuts", "mlp", auc=0.004, auc_p=0.003))
    assert headline(led).startswith("mlp separates electron best: AUC ")
    assert 'class="best"' in page(led)


def test_no_best_that_a_working_point_contradicts():
    beaten = judged_pair("cuts", "mlp", auc=0.004, auc_p=0.003, points=(("eff90", "mlp"), ("eff99", "cuts")))
    text = headline(of_pairs(beaten))
    assert text.startswith("mlp has the largest AUC ")
    assert "but is not the best everywhere. cuts beats mlp at eff99." in text
    assert "separates" not in text
    level = judged_pair("cuts", "mlp", auc=0.001, auc_p=1.0, points=(("eff90", "mlp"),))
    assert "none is shown to be the best. mlp beats cuts at eff90." in headline(of_pairs(level))
    hand = dataclasses.replace(judged_pair("hand", "mlp", auc=math.nan, auc_p=math.nan, points=(("hand", "hand"),)))
    ahead = judged_pair("cuts", "mlp", auc=0.004, auc_p=0.003)
    assert "hand beats mlp at hand" in headline(of_pairs(hand, ahead))


def test_the_table_of_verdicts_names_the_winner_or_says_level_with_difference_and_p():
    pair = judged_pair("cuts", "mlp", auc=0.004, auc_p=0.003, points=(("eff90", "mlp"), ("eff95", "")))
    table = verdict_table(of_pairs(pair))
    assert table.columns == ("a – b", "AUC", "eff90, at 90 %", "eff95, at 95 %")
    ((name, auc, eff90, eff95),) = table.rows
    assert (name.text, auc.text, auc.below) == ("cuts – mlp", "mlp", "+0.0040 ± 0.0010, p = 0.003")
    assert (eff90.text, eff90.strong, eff95.text, eff95.strong) == ("mlp", True, "level", False)
    assert eff90.below == "−1.00 ± 0.20, p = 0.03"


def test_the_look_elsewhere_of_all_pairs_is_said_once():
    """ "after Holm's correction for 54 comparisons" stood in each of 54 sentences."""
    words = Outline(
        page(of_pairs(judged_pair("cuts", "mlp", auc=0.004, auc_p=0.003, points=(("eff90", "mlp"),))))
    ).words
    assert words.count("All 20 comparisons are judged together") == 1
    assert "words, p = 0.03 " in words
    body = words.partition("All 20 comparisons")[2]
    assert body.count("Holm") == 1


def test_results_of_an_older_version_are_judged_by_their_differences():
    (row,) = [r for r in verdict_table(TWO).rows if r[0].text == "cuts – mlp"]
    assert {cell.text for cell in row[1:]} <= {"cuts", "mlp", "level", "–", ""}
    assert row[1].text == "mlp"


def test_few_effective_events_are_said():
    test = dataclasses.replace(TWO.models["mlp"].samples["test"], n_by_class={"electron": 16.0, "pion": 4000.0})
    rare = Measured(0.001, 0.0006, 0.0017, 4000.0)
    points = tuple(dataclasses.replace(p, misid={"pion": rare}) for p in TWO.models["mlp"].working_points[:1])
    mlp = dataclasses.replace(TWO.models["mlp"], samples={"test": test}, working_points=points)
    results = dataclasses.replace(TWO, models={"mlp": mlp})
    told = list(few_events(results))
    assert told[0] == "Only 16 electron events of test (effectively): all that is said of them has wide intervals."
    assert told[1].startswith("Fewer than 10 pion events of test (effectively) pass eff90 (mlp)")
    assert all(sentence in Outline(page(results)).words for sentence in told)
    assert list(few_events(TWO)) == []


def test_rates_of_few_events_of_several_classes_are_said_in_one_sentence():
    rare = Measured(0.001, 0.0006, 0.0017, 4000.0)
    classes = ("electron", "pion", "kaon")
    test = dataclasses.replace(TWO.models["mlp"].samples["test"], n_by_class=dict.fromkeys(classes, 4000.0))
    point = dataclasses.replace(TWO.models["mlp"].working_points[0], misid={"pion": rare, "kaon": rare})
    mlp = dataclasses.replace(TWO.models["mlp"], samples={"test": test}, working_points=(point,))
    (told,) = few_events(dataclasses.replace(TWO, classes=classes, models={"mlp": mlp}))
    assert "Fewer than 10 events of a class of test (effectively) pass some points, of pion and kaon at eff90" in told


def test_points_that_are_not_set_are_told_once_with_the_reason():
    why = "too few signal candidates decide it; give that sample more signal."
    unset = {name: f"{name} is not set: {why}" for name in ("eff95", "eff99")}
    mlp = dataclasses.replace(TWO.models["mlp"], working_points=TWO.models["mlp"].working_points[:1], unset=unset)
    results = dataclasses.replace(TWO, models={**TWO.models, "mlp": mlp})
    assert f"mlp: eff95 and eff99 are not set: {why}" in Outline(page(results)).words
    assert f"mlp: eff95 and eff99 are not set: {why}" in as_text(models_table(results))


def test_a_single_model_without_separation_is_not_said_to_separate():
    for value, told in ((0.44, "is not shown to separate"), (0.56, "is not shown to separate"), (0.7, "separates")):
        test = dataclasses.replace(
            TWO.models["mlp"].samples["test"], auc=Measured(value, value - 0.08, value + 0.08, 40.0)
        )
        mlp = dataclasses.replace(TWO.models["mlp"], samples={"test": test})
        assert headline(dataclasses.replace(TWO, models={"mlp": mlp})).startswith(f"mlp {told} electron: AUC 0.")


def test_a_point_off_its_target_is_marked_with_the_reason():
    mlp = TWO.models["mlp"]
    off = dataclasses.replace(
        mlp.working_points[0], efficiency=Measured(0.963, 0.955, 0.97, 4000.0), reason="the score jumps there"
    )
    one = dataclasses.replace(mlp.working_points[1], threshold=off.threshold, efficiency=off.efficiency)
    mlp = dataclasses.replace(mlp, working_points=(off, one, *mlp.working_points[2:]))
    results = dataclasses.replace(TWO, models={**TWO.models, "mlp": mlp})
    words = Outline(page(results)).words
    assert "at 96.3 % *" in words
    assert "mlp: eff90 and eff95 are one and the same decision, of efficiency 96.3 %." in words
    assert "Off target (*): mlp eff90 96.3 %. The reason: the score jumps there." in words
    table = models_table(results)
    assert "at 96.3 *" in {cell.below for row in table.rows for cell in row}


def test_shares_are_in_per_cent_everywhere():
    """The terminal had per cent, the report fractions."""
    words = Outline(page()).words
    for model in TWO.models.values():
        for point in model.working_points:
            for rate in (point.efficiency, *point.misid.values()):
                assert format_measured(rate) not in words
                assert format_percent(rate) in words


def test_one_table_is_text_and_html_with_the_same_cells():
    """The terminal, the report and a notebook show the same."""
    table = models_table(THREE)
    html, text = as_html(table), as_text(table)
    outline = Outline(html)
    assert outline.mistakes == []
    for row in table.rows:
        for cell in row:
            for part in (cell.text, cell.below):
                assert part in outline.words
                assert part in text
    assert all(remark in outline.words and remark in text for remark in table.remarks)
    assert len({line.rindex("at ") for line in text.splitlines() if re.fullmatch(r"\s+at [\d.]+( \*)?", line)}) <= 1
    hostile = dataclasses.replace(table, caption="<script>x</script>", remarks=("a & <b>",))
    assert "<script>" not in as_html(hostile)
    assert "a &amp; &lt;b&gt;" in as_html(hostile)


def with_area(name, kind, area):
    model = TWO.models[name]
    samples = {**model.samples, "test": dataclasses.replace(model.samples["test"], auc=area)}
    return dataclasses.replace(TWO, models={name: dataclasses.replace(model, kind=kind, samples=samples)})


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("score", "write a minus sign before it, or exchange the signal"),
        ("onnx", "look at the order of its outputs"),
        ("mixture", "the signal is not what is rare"),
        ("bdt", r"look whether the classes are exchanged .* \(split.test\)"),
    ],
)
def test_a_model_below_chance_by_more_than_its_interval_is_said_with_the_likely_reason(kind, advice):
    name = TWO.ranked[0].name
    below = with_area(name, kind, Measured(0.42, 0.41, 0.43, 900.0))
    (told,) = below_chance(below)
    assert re.search(rf"^{name} ranks electron below the others \(AUC 0.42.* and .5 is chance\): .*{advice}", told)
    assert told in re.sub("</?code>", "`", page(below)).replace("&#39;", "'").replace("&lt;", "<")
    assert list(below_chance(with_area(name, kind, Measured(0.49, 0.47, 0.51, 900.0)))) == []
    assert list(below_chance(TWO)) == []
