"""The report in a real headless Chromium: nothing leaves it, everything is drawn, and everybody can read it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re

import pytest
from chromium import Page

from example_results import FEATURES, example
from pidlab.measured import Measured
from pidlab.plots.gallery import write
from pidlab.report.page import render, write_report
from pidlab.rootio.results.run import write_results

pytestmark = pytest.mark.slow

RESULTS = dataclasses.replace(
    example(("electron", "pion", "kaon")), labels={FEATURES[0]: r"$E_{\mathrm{tot}}/p$", "P.gtr.p": "$p$ [GeV]"}
)
QUIET = "[...document.querySelectorAll('.viewer [role=status]')].every(s => !s.textContent.includes('being drawn'))"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    few = {name: dataclasses.replace(m, maps=m.maps[-12:]) for name, m in RESULTS.models.items() if name != "cuts"}
    results = dataclasses.replace(RESULTS, models=few, robustness={"mlp": RESULTS.robustness["mlp"]})
    write_results(folder / "results.root", results, "{}")
    page = render(
        results, title="Electrons", config_yaml="seed: 1\n", manifest={"seeds": {"seed": 1}},
        figures=write(results, folder, formats=()), root_file=folder / "results.root",
    )  # fmt: skip
    write_report(folder / "report.html", page)
    return folder / "report.html"


@pytest.fixture(scope="module")
def shared_page(report, chromium):
    page = Page(chromium)
    page.open(report)
    yield page
    page.close()


@pytest.fixture
def page(shared_page):
    yield shared_page
    assert shared_page.complaints == []
    assert {url for url in shared_page.requests if not url.startswith(("file:", "data:"))} == set()


@pytest.fixture
def opened(chromium):
    """A function that opens a report in a page of its own, which is closed after the test."""
    with contextlib.ExitStack() as pages:

        def page_of(report, **options):
            page = Page(chromium, **options)
            pages.callback(page.close)
            page.open(report)
            return page

        yield page_of


def test_every_figure_is_drawn_and_described(page):
    images = page.ask("[...document.images].map(i => [i.naturalWidth, i.alt.length])")
    assert len(images) > 15
    assert all(width > 100 and alt > 20 for width, alt in images)


def test_headings_come_in_order_and_sections_are_named_by_them(page):
    levels = page.ask("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    links = page.ask("[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash)?.tagName)")
    assert set(links) == {"SECTION"}
    assert len(links) == page.ask("document.querySelectorAll('main > section').length")


def test_nothing_is_unpacked_before_somebody_asks(report, opened):
    page = opened(report)
    assert page.ask("typeof JSROOT") == "undefined"
    assert page.ask("document.querySelectorAll('.viewer, .table table').length") == 0


def test_jsroot_draws_the_objects_of_a_figure_after_a_click(page):
    page.ask("document.querySelector('#figure-roc button.interactive').click()")
    page.wait_until(QUIET)
    viewer = "document.querySelector('#figure-roc .viewer')"
    assert page.ask(f"{viewer}.querySelector('[role=status]').textContent") == "mlp/rejection (TGraphAsymmErrors)"
    texts = page.ask(f"[...{viewer}.querySelectorAll('.canvas svg text')].map(t => t.textContent).join(' ')")
    assert "electron against rest" in texts
    assert page.ask(f"{viewer}.querySelectorAll('.canvas svg path').length") > 10
    assert page.ask(f"[...{viewer}.querySelectorAll('option')].map(o => o.value)") == ["mlp/rejection", "mlp/roc"]


@pytest.mark.parametrize(
    ("figure", "first"),
    [
        ("inputs", "inputs/"), ("response_mlp", "mlp/score_electron"), ("confusion_mlp", "mlp/confusion"),
        ("learning_mlp", "mlp/history_validation_auc"), ("correlation_pion", "inputs/correlation_pion"),
        ("map_P_gtr_p_P_gtr_th_mlp", "maps/mlp/efficiency_p_th_"), ("compare", "compare/"),
        ("robustness_smear", "robustness/mlp/auc_smear_all"), ("roc_pion", "mlp/rejection_pion"),
        ("cutflow", "cutflow/electron"), ("confusion_hand", "hand/confusion"),
    ],
)  # fmt: skip
def test_each_figure_has_its_own_objects(page, figure, first):
    objects = json.loads(page.ask(f"document.querySelector('#figure-{figure} button').dataset.objects"))
    assert objects[0].startswith(first)
    model = next((m for m in ("mlp", "hand") if figure.endswith(f"_{m}")), "")
    assert all(model in name for name in objects)


def test_every_kind_of_object_can_be_drawn(page):
    drawn = page.ask("""(async () => {
      const told = {};
      for (const folder of document.querySelectorAll('.browser details')) {
        folder.open = true;
        folder.querySelector('button').click();
        const [select, status] = [folder.querySelector('select'), folder.querySelector('[role=status]')];
        for (const option of [...select.options].filter((o, i) => i % 7 === 0)) {
          select.value = option.value;
          select.dispatchEvent(new Event('change'));
          while (status.textContent.includes('being drawn')) await new Promise((r) => setTimeout(r, 5));
          const marks = folder.querySelectorAll('.canvas svg path, .canvas pre').length;
          told[status.textContent] = marks;
        }
      }
      return told;
    })()""")
    kinds = {match[1] for text in drawn if (match := re.search(r"\((\w+)\)$", text))}
    assert {"TGraphAsymmErrors", "TH1D", "TH2D", "TEfficiency", "TObjString"} <= kinds
    assert [text for text, marks in drawn.items() if "cannot" in text or marks == 0] == []


def test_labels_reach_the_root_objects(page):
    page.ask("document.querySelector('#figure-inputs button').click()")
    page.wait_until(QUIET)
    title = page.ask("JSROOT.openFile && document.querySelector('#figure-inputs .canvas svg').textContent")
    assert "tot" in title
    assert "mathrm" not in title


def test_the_numbers_of_a_figure_are_one_click_away(page):
    figure = "document.querySelector('#figure-cutflow')"
    page.ask(f"{figure}.querySelector('details.numbers').open = true")
    page.wait_until(f"{figure}.querySelector('.table tbody tr') !== null")
    rows = page.ask(f"[...{figure}.querySelectorAll('.table tr')].map(r => [...r.cells].map(c => c.textContent))")
    step = RESULTS.cutflow[1]
    assert rows[0][:3] == ["cut", "electron", "electron, weighted"]
    assert rows[2][:3] == [step.name, str(step.passed["electron"]), "1.0"]
    assert page.ask(f"{figure}.querySelector('a[download]').download") == "cutflow.csv"


def test_each_figure_offers_its_numbers(page):
    without = "[...document.querySelectorAll('figure')].filter(f => !f.querySelector('a[download]')).map(f => f.id)"
    assert page.ask(without) == []


# What every word is written on: the nearest background above it, as a ratio of luminances (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
  const parts = (c) => (c.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = (c) => parts(c).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const below = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if ((parts(c)[3] ?? 1) > 0) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const told = [];
  for (const e of document.querySelectorAll('body *:not(script):not(style)')) {
    if (e.closest('.canvas svg') || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(below(e))].sort((x, y) => y - x);
    told.push([(a + 0.05) / (b + 0.05), e.tagName + '.' + e.className]);
  }
  return told.sort((x, y) => x[0] - y[0]);
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_word_has_contrast_in_light_and_dark(report, dark, opened):
    page = opened(report, dark=dark)
    found = page.ask(CONTRAST)
    background = page.ask("getComputedStyle(document.body).backgroundColor")
    assert len(found) > 100
    assert [(ratio, where) for ratio, where in found if ratio < 4.5] == []
    assert (int(re.findall(r"\d+", background)[0]) < 128) == dark


def test_a_narrow_screen_needs_no_sideways_scrolling(report, opened):
    page = opened(report, width=390)
    assert page.ask("document.documentElement.scrollWidth") <= 390
    assert page.ask("Math.max(...[...document.images].map(i => i.getBoundingClientRect().right))") <= 390


def test_the_models_of_a_narrow_screen_stand_below_each_other_with_every_number_and_its_name(report, opened):
    page = opened(report, width=390)
    assert page.ask("(t => t.parentNode.scrollWidth - t.parentNode.clientWidth)(document.querySelector('.cards'))") <= 0
    cells = page.ask(
        "[...document.querySelectorAll('.cards td')].map(c => [getComputedStyle(c, '::before').content, "
        "getComputedStyle(c).display, c.getBoundingClientRect().right])"
    )
    assert {'"AUC"', '"eff90"', '"Scoring"'} <= {name for name, *_ in cells}
    assert all(name not in ("none", '""') and display == "block" and right <= 390 for name, display, right in cells)
    headers = "getComputedStyle(document.querySelector('.cards thead')).display"
    assert page.ask(headers) == "none"
    assert opened(report, width=1400).ask(headers) == "table-header-group"


def test_print_leaves_out_what_paper_cannot_do(report, tmp_path, opened):
    page = opened(report, width=690)
    page.media("print")
    hidden = "[...document.querySelectorAll('nav, .tools, #objects')].every(e => e.offsetParent === null)"
    assert page.ask(hidden)
    wide = "[...document.querySelectorAll('main table')].filter(t => t.getBoundingClientRect().right > 691).length"
    assert page.ask(wide) == 0
    page.pdf(tmp_path / "report.pdf")
    figures = report.read_text(encoding="utf-8").count("<figure ")
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes()))
    # Two figures a row and three rows a page, and five pages of text and tables; it was nearly a page a figure.
    assert 3 <= pages <= figures / 6 + 5


def test_print_has_two_figures_a_row(report, opened):
    page = opened(report, width=690)
    page.media("print")
    tops = page.ask(
        "[...document.querySelectorAll('.gallery')].map(g => [...g.querySelectorAll('figure')]"
        ".map(f => Math.round(f.getBoundingClientRect().top)))"
    )
    of_several = [gallery for gallery in tops if len(gallery) > 1]
    assert of_several
    assert all(len(set(gallery)) == (len(gallery) + 1) // 2 for gallery in of_several)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A report of four classes and five models."""
    folder = tmp_path_factory.mktemp("wide")
    results = example(("electron", "muon", "pion", "kaon"), kinds=("cuts", "fisher", "bdt", "mlp"))
    page = render(
        results,
        title="Four",
        config_yaml="seed: 1\n",
        manifest={},
        figures=write(results, folder, formats=(), only={"roc"}),
    )
    write_report(folder / "report.html", page)
    return folder / "report.html"


def test_no_table_hides_columns_on_a_wide_screen(wide, opened):
    """At 1400 pixels columns were hidden at the right, with room beside the table."""
    page = opened(wide, width=1400)
    page.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    hidden = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.querySelector('table').textContent.trim().slice(0, 60))"
    )
    assert page.ask("document.querySelectorAll('.scroll').length") > 10
    assert page.ask(hidden) == []


def test_comparisons_are_folded_and_the_table_of_verdicts_comes_first(wide, opened):
    page = opened(wide, width=1400)
    assert page.ask("[...document.querySelectorAll('details.pair')].map(d => d.open)") == [False] * 10
    assert page.ask(
        "document.querySelector('#comparisons table').compareDocumentPosition(document.querySelector('.pair')) & 4"
    )


def test_the_first_screen_holds_headline_table_and_roc(wide, opened):
    page = opened(wide, width=1400, height=1000)
    bottom = "document.querySelector('{}').getBoundingClientRect().bottom"
    for what in (".verdict", "#models table", "#figure-roc img"):
        assert 0 < page.ask(bottom.format(what)) <= 1000, what
    assert page.ask("document.querySelector('#figure-roc').getBoundingClientRect().left") > 700


def test_the_roc_of_four_classes_with_long_numbers_stands_beside_the_table(tmp_path, opened):
    """The table of a first run, with classes as `pidlab init` names them, pushed the figure below it at 1400 pixels."""
    made = example(tuple(f"species_{number}" for number in range(4)), kinds=("cuts", "fisher", "bdt", "mlp"))
    models = {name: _with_few_events(model) for name, model in made.models.items()}
    results = dataclasses.replace(made, models=models)
    figures = write(results, tmp_path, formats=(), only={"roc"})
    page = render(results, title="Four", config_yaml="seed: 1\n", manifest={}, figures=figures)
    write_report(tmp_path / "report.html", page)
    asked = opened(tmp_path / "report.html", width=1400)
    right = asked.ask("document.querySelector('#models table').getBoundingClientRect().right")
    left, top = asked.ask(
        "(({left, top}) => [left, top])(document.querySelector('#figure-roc').getBoundingClientRect())"
    )
    assert "0.99904 +0.00032 −0.00048" in page
    assert right < left
    assert top < asked.ask("document.querySelector('#models table').getBoundingClientRect().bottom")


def _with_few_events(model):
    """The model with an AUC and, at the two tighter points, rates whose bounds are asymmetric, as of few events."""
    auc, few = Measured(0.99904, 0.99856, 0.99936, 288), Measured(0.0016, 0.0, 0.0042, 624)
    many = Measured(0.04, 0.035, 0.045, 624)
    points = tuple(
        dataclasses.replace(point, misid=dict.fromkeys(point.misid, many if point.name == "eff99" else few))
        for point in model.working_points
    )
    test = dataclasses.replace(model.samples["test"], auc=auc)
    return dataclasses.replace(model, samples={**model.samples, "test": test}, working_points=points)


def test_the_policy_of_the_page_refuses_requests_and_other_scripts(report, opened):
    page = opened(report)
    assert page.ask("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"
    page.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'var planted = 1'}))")
    assert page.ask("typeof planted") == "undefined"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


def test_a_damaged_file_is_told_and_breaks_nothing_else(report, tmp_path, opened):
    text = report.read_text(encoding="utf-8")
    broken = re.sub(r'(id="results-root">.{40})', r"\1AAAA", text)
    assert broken != text
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    page = opened(tmp_path / "broken.html")
    page.ask("document.querySelector('#figure-roc button').click()")
    page.wait_until(QUIET)
    status = page.ask("document.querySelector('#figure-roc [role=status]').textContent")
    assert status.startswith("mlp/rejection cannot be drawn")
