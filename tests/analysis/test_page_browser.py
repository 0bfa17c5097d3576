"""The page in a real browser: Chromium or Chrome of this machine, headless; without one these tests skip.

The page is opened as a file, as a reader opens it who was sent it.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from itertools import pairwise

import pandas as pd
import pytest

from analysis.page import page
from analysis.report import report_tables, write_report
from analysis.store import read_records
from tests.analysis import runs
from tests.analysis.test_page import STATES

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason=f"no browser here: none of {', '.join(NAMES)} is on the PATH")

CONTROLS = "[...document.querySelectorAll('a[href], button, input, select, summary')]"
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
READY = "html[data-ready]"
SECONDS = 60_000  # in ms; a busy machine starts a browser slowly


@dataclass
class Seen:
    """An opened page, with all that it said and asked for."""

    page: object
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def column(self, table: str, place: int) -> list[str]:
        return self.page.eval_on_selector_all(
            f"{table} tbody tr:not(.out) td:nth-child({place})", "cells => cells.map(cell => cell.textContent)"
        )


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=SECONDS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    contexts = []

    def opened(index, viewport=WIDE, ready=True, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        seen = Seen(context.new_page())
        seen.page.set_default_timeout(SECONDS)
        seen.page.on("console", lambda message: seen.said.append(message.text))
        seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.goto(index.as_uri())
        if ready:
            seen.page.wait_for_selector(READY)
        return seen

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """Eleven levels, one of them clearly better, one failing."""
    cells = {"baseline": [0.70, 0.71, 0.72]}
    cells |= {
        f"loss=l{place}": [0.5 + 0.013 * (7 * place % 11) + 0.001 * seed for seed in range(3)] for place in range(10)
    }
    cells |= {"loss=a rather long name of a level that no table wants": [0.8, 0.815, 0.82], "loss=lost": ["failed"] * 3}
    return write_report(runs.write_outcomes(tmp_path_factory.mktemp("ablation"), runs.study(cells), cells))


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    cells = {f"c{place:02d}": [0.5 + 0.37 * place % 0.4] for place in range(30)}
    configs = {name: {"optimizer": {"lr": 0.0001 * 1.7**place}} for place, name in enumerate(cells)}
    run = tmp_path_factory.mktemp("search")
    return write_report(runs.write_outcomes(run, runs.search(samples=30), cells, configs=configs))


@pytest.fixture(params=["ablation", "search"])
def index(request):
    return request.getfixturevalue(request.param)


def test_nothing_goes_wrong_and_nothing_is_asked_of_anywhere(visit, index):
    seen = visit(index)
    assert seen.said == []
    assert seen.asked == [index.as_uri()]


def test_a_page_that_was_moved_away_from_its_folder_is_whole(visit, ablation, tmp_path):
    alone = tmp_path / "sent.html"
    shutil.copy(ablation, alone)
    seen = visit(alone)
    assert seen.said == []
    assert seen.page.locator(".chart svg").count() == seen.page.locator("[data-figure]").count()


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400", "390"])
def test_every_figure_is_drawn_and_nothing_overflows(visit, index, viewport):
    seen = visit(index, viewport)
    figures = seen.page.locator("[data-figure]")
    assert figures.count() > 3
    for place in range(figures.count()):
        box = figures.nth(place).locator("svg").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        assert box["height"] > 50
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400", "390"])
def test_the_answer_is_read_without_scrolling(visit, index, viewport):
    seen = visit(index, viewport)
    first = seen.page.locator(".answers li").first.bounding_box()
    assert first["y"] + first["height"] < viewport["height"]
    question = seen.page.locator("h1").bounding_box()
    assert 0 <= question["y"] < first["y"]


def test_clear_answers_come_first_and_the_last_ones_fold(visit, ablation):
    seen = visit(ablation)
    compared = pd.read_parquet(ablation.parent / "ablation.parquet")
    verdicts = [
        name.replace("-", " ")
        for name in seen.page.eval_on_selector_all(".answers li", "all => all.map(one => one.className)")
    ]
    clear = compared["verdict"].isin(["better", "worse"])
    assert 0 < clear.sum() < len(compared)
    assert verdicts[: clear.sum()] == sorted(compared.loc[clear, "verdict"], key=["better", "worse"].index)
    assert verdicts[0] == "better"
    assert sorted(verdicts) == sorted(compared["verdict"])
    assert seen.page.locator("details.more summary").first.text_content() == f"{len(compared) - 8} more"


@pytest.mark.parametrize("state", STATES)
def test_the_page_of_a_run_of_any_state_draws_without_a_word(visit, tmp_path, state):
    make, _ = STATES[state]
    seen = visit(write_report(make(tmp_path)))
    assert seen.said == []
    assert seen.page.locator("[data-figure] > svg").count() == seen.page.locator("[data-figure]").count()


def test_a_header_sorts_up_down_and_back(visit, search):
    seen = visit(search)
    table = "[aria-label='Table: Ranking'] table"
    ranking = pd.read_parquet(search.parent / "ranking.parquet")
    rate = 1 + seen.page.eval_on_selector_all(
        f"{table} th", "heads => heads.findIndex(head => head.textContent === 'optimizer.lr')"
    )
    header = seen.page.locator(f"{table} th:nth-child({rate})")
    natural = ranking["cell"].tolist()
    assert seen.column(table, 2) == natural
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert seen.column(table, 2) == ranking.sort_values("optimizer.lr")["cell"].tolist()
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert seen.column(table, 2) == ranking.sort_values("optimizer.lr", ascending=False)["cell"].tolist()
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert seen.column(table, 2) == natural


def test_enter_on_a_header_sorts_and_equal_digits_sort_in_full(visit, ablation):
    seen = visit(ablation)
    table = "[aria-label='Table: Every comparison, test_balanced_accuracy'] table"
    compared = pd.read_parquet(ablation.parent / "ablation.parquet")
    heads = seen.page.eval_on_selector_all(f"{table} th", "heads => heads.map(head => head.textContent)")
    place = heads.index("p holm") + 1
    seen.page.locator(f"{table} th:nth-child({place}) button").focus()
    seen.page.keyboard.press("Enter")
    # sort_values puts nulls last, as the page does; both keep the order of equals.
    expected = compared.sort_values("p_holm", kind="stable")["level"].tolist()
    assert seen.column(table, 2) == expected
    seen.page.keyboard.press("Enter")
    values = seen.page.eval_on_selector_all(
        f"{table} td:nth-child({place})", "cells => cells.map(cell => cell.dataset.v)"
    )
    known = [float(value) for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[len(known) :] == [None] * (len(values) - len(known))


def test_text_sorts_as_a_reader_counts(visit, ablation):
    seen = visit(ablation)
    table = "[aria-label^='Table: loss:'] table"
    natural = seen.column(table, 1)
    seen.page.locator(f"{table} th:nth-child(1) button").click()
    in_order = sorted(
        natural,
        key=lambda text: [
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text.lower()) if part
        ],
    )
    assert seen.column(table, 1) == in_order


def test_a_filter_shows_the_rows_that_hold_every_word(visit, search):
    seen = visit(search)
    region = seen.page.locator("[aria-label='Table: Trials']")
    box = seen.page.get_by_label("Filter, Table: Trials")
    trials = pd.read_parquet(search.parent.parent / "trials.parquet")
    assert seen.column("[aria-label='Table: Trials']", 1) == trials["cell"].tolist()
    box.fill("c1 FINISHED")
    wanted = [cell for cell, trial in zip(trials["cell"], trials["trial"], strict=True) if "c1" in f"{cell} {trial}"]
    assert seen.column("[aria-label='Table: Trials']", 1) == wanted
    assert 0 < len(wanted) < len(trials)
    assert seen.page.locator(".tools", has=box).locator("output").text_content() == f"{len(wanted)} of {len(trials)}"
    box.fill("")
    assert region.locator("tbody tr:not(.out)").count() == len(trials)


def test_paper_is_white_and_shows_all_rows_and_answers(visit, ablation):
    seen = visit(ablation, color_scheme="dark")
    seen.page.get_by_label("Filter, Table: Trials").fill("nothing has this")
    rows = seen.page.locator("[aria-label='Table: Trials'] tbody tr")
    assert not rows.first.is_visible()
    seen.page.emulate_media(media="print")
    assert all(rows.nth(place).is_visible() for place in range(rows.count()))
    assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 35)"
    assert not seen.page.locator(".tools").first.is_visible()
    assert not seen.page.locator("#theme").is_visible()
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator(".answers li").last.is_visible()
    seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not seen.page.locator(".answers li").last.is_visible()


def ink(seen):
    """The colours of the page's text and of the text of its figures."""
    return seen.page.evaluate(
        "[getComputedStyle(document.body).color,"
        " ...new Set([...document.querySelectorAll('.chart svg text')].map(text => getComputedStyle(text).fill))]"
    )


def test_figures_follow_the_page_into_the_dark_and_the_choice_is_remembered(visit, ablation):
    seen = visit(ablation, color_scheme="light")
    light = ink(seen)
    assert len(set(light)) == 1
    button = seen.page.locator("#theme")
    assert button.text_content() == "Dark"
    button.focus()
    seen.page.keyboard.press("Enter")
    dark = ink(seen)
    assert len(set(dark)) == 1
    assert dark != light
    seen.page.reload()
    seen.page.wait_for_selector(READY)
    assert ink(seen) == dark
    assert seen.page.locator("#theme").text_content() == "Light"


def test_the_page_follows_the_system_until_it_is_told_otherwise(visit, ablation):
    seen = visit(ablation, color_scheme="dark")
    dark = ink(seen)
    seen.page.emulate_media(color_scheme="light")
    assert ink(seen) != dark


def test_storage_that_is_forbidden_breaks_nothing(browser, ablation):
    context = browser.new_context()
    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    opened, said = context.new_page(), []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(ablation.as_uri())
    opened.wait_for_selector(READY)
    opened.locator("#theme").click()
    assert opened.locator("html").get_attribute("data-theme") in ("light", "dark")
    assert said == []
    context.close()


def test_without_javascript_all_is_there_to_read_and_figures_name_their_files(visit, ablation):
    seen = visit(ablation, ready=False, java_script_enabled=False)
    assert seen.page.locator("[aria-label='Table: Trials'] tbody tr").first.is_visible()
    notes = seen.page.locator("[data-figure]").all_text_contents()
    names = [f"figures/{path.name}" for path in (ablation.parent / "figures").iterdir()]
    assert sorted(re.search(r"figures/\w+\.svg", note)[0] for note in notes) == sorted(names)
    assert not seen.page.locator("#theme").is_visible()


def test_every_control_is_reached_by_the_keyboard(visit, ablation):
    seen = visit(ablation)
    controls = seen.page.evaluate(
        f"{CONTROLS}.filter(one => one.checkVisibility() && !one.closest('details:not([open]) > :not(summary)')).length"
    )
    reached = set()
    for _ in range(controls + 40):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate(f"{CONTROLS}.indexOf(document.activeElement)"))
    assert len(reached - {-1}) == controls
    assert controls > 40


def test_headings_step_down_one_at_a_time_and_figures_have_names(visit, index):
    seen = visit(index)
    levels = seen.page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = seen.page.eval_on_selector_all(
        "[data-figure]", "all => all.map(one => one.getAttribute('aria-label') || '')"
    )
    titles = seen.page.eval_on_selector_all("figure h3", "all => all.map(one => one.textContent)")
    assert all(name.startswith(f"{title}. ") for name, title in zip(names, titles, strict=True))


def test_the_contents_stand_beside_a_wide_page_and_above_a_narrow_one(visit, ablation):
    wide, narrow = visit(ablation), visit(ablation, NARROW)
    assert wide.page.locator(".side").is_visible()
    assert not wide.page.locator(".top-contents").is_visible()
    assert not narrow.page.locator(".side").is_visible()
    narrow.page.locator(".top-contents summary").click()
    narrow.page.locator(".top-contents a", has_text="Trials").click()
    assert narrow.page.locator("#trials h2").bounding_box()["y"] < NARROW["height"]
    anchors = wide.page.eval_on_selector_all(".side a", "all => all.map(one => one.hash.slice(1))")
    assert all(wide.page.locator(f"[id='{anchor}']").count() == 1 for anchor in anchors)


def opacities(seen, figure):
    """Of the lines of a figure, by their cells' places."""
    return seen.page.eval_on_selector_all(
        f"[data-figure={figure}] .mark-line path", "all => all.map(one => Number(one.getAttribute('opacity') ?? 1))"
    )


def test_a_cell_that_is_picked_is_brought_out_in_all_curves(visit, ablation):
    seen = visit(ablation)
    assert set(opacities(seen, "curves_loss")) == {1}
    choice = seen.page.locator("#curves select")
    choice.select_option("loss=l3")
    for figure in ("curves_loss", "curves_balanced_accuracy"):
        lines = opacities(seen, figure)
        assert sorted(set(lines))[-1] == 1
        assert lines.count(1) == len(lines) // 12
    choice.select_option("all cells")
    assert set(opacities(seen, "curves_loss")) == {1}
    seen.page.locator("[data-figure=curves_loss] .role-legend-symbol path").first.click(force=True)
    assert opacities(seen, "curves_loss").count(1) == len(opacities(seen, "curves_loss")) // 12


def test_a_cell_stays_picked_when_figures_are_fitted_anew(visit, ablation):
    seen = visit(ablation)
    seen.page.locator("#curves select").select_option("loss=l3")
    before = opacities(seen, "curves_loss")
    room = seen.page.get_attribute("[data-figure=curves_loss]", "data-room")
    seen.page.set_viewport_size({"width": 1100, "height": 900})
    drawn_anew = "room => document.querySelector('[data-figure=curves_loss]').dataset.room !== room"
    seen.page.wait_for_function(drawn_anew, arg=room)
    seen.page.wait_for_timeout(400)
    assert opacities(seen, "curves_loss") == before
    assert before.count(1) == len(before) // 12


def test_cells_that_share_a_learning_rate_are_offered_by_their_own_names(visit, ablation):
    seen = visit(ablation)
    offered = seen.page.locator("#curves select option").all_text_contents()
    assert "loss=l3" in offered
    assert not any(re.match(r"all \d+ cells", name) for name in offered)
    named = "() => [...document.querySelectorAll('[data-figure=curves_lr] text')].map(one => one.textContent)"
    assert any(re.match(r"all \d+ cells", text) for text in seen.page.evaluate(named))


def test_a_point_tells_its_figures(visit, ablation):
    seen = visit(ablation)
    point = seen.page.locator("[data-figure=ablation] .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    told = seen.page.locator("#vg-tooltip-element")
    seen.page.wait_for_selector("#vg-tooltip-element.visible")
    assert "verdict" in told.text_content()


def test_figures_are_fitted_anew_when_the_window_changes(visit, ablation):
    seen = visit(ablation)
    seen.page.set_viewport_size(NARROW)
    seen.page.wait_for_function(
        "[...document.querySelectorAll('.chart svg')].every(one => one.getBoundingClientRect().width <= 350)"
        " && document.querySelector('.chart').dataset.room < 400"
    )
    seen.page.wait_for_timeout(400)
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert seen.said == []


def running(path):
    outcomes = {"baseline": [0.8, 0.81, 0.82], "loss=a": [0.9, "running"]}
    return write_report(runs.write_outcomes(path, runs.study(outcomes), outcomes))


def test_the_page_of_a_running_study_loads_itself_again_where_it_was(visit, tmp_path):
    seen = visit(running(tmp_path), ready=False)
    seen.page.clock.install()
    seen.page.reload()
    seen.page.wait_for_selector(READY)
    assert "loads itself again every 20 s" in seen.page.locator("#reload").text_content()
    seen.page.evaluate("scrollTo(0, 700)")
    before = len(seen.asked)
    with seen.page.expect_event("load"):
        seen.page.clock.fast_forward(20_000)
    seen.page.wait_for_selector(READY)
    assert len(seen.asked) == before + 1
    assert seen.page.evaluate("scrollY") == 700
    assert seen.said == []


def test_a_page_that_nobody_rewrites_stops_loading_itself(visit, tmp_path):
    index = running(tmp_path)
    old = re.sub(r'data-written="\d+"', 'data-written="1000000000000"', index.read_text(encoding="utf-8"))
    index.write_text(old, encoding="utf-8")
    assert visit(index).page.locator("#reload").text_content() == ""


def test_a_figure_that_cannot_be_drawn_says_where_it_is(visit, tmp_path):
    import altair as alt

    from analysis.charts import Figure

    class Broken(Figure):
        def spec(self):
            return {"mark": "no such mark", "description": "none"}

    records = read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.8]}))
    index = tmp_path / "index.html"
    chart = alt.Chart(alt.InlineData(values=[])).mark_bar()
    index.write_text(page(records, report_tables(records), [Broken("broken", "why", "Broken", "None.", chart)]))
    seen = visit(index)
    assert "figures/broken.svg" in seen.page.locator("[data-figure=broken]").text_content()
    assert any("broken" in text for text in seen.said)


@pytest.mark.parametrize("make", ["ablation", "search"])
def test_a_study_of_a_thousand_cells_opens_soon(visit, tmp_path, make):
    """Time until everything is drawn, on a machine that may do other work."""
    cells = {f"loss=l{place}" if place else "baseline": [0.5 + place % 97 / 300] for place in range(1000)}
    study = runs.study(cells, [0]) if make == "ablation" else runs.search(samples=1000)
    index = write_report(runs.write_outcomes(tmp_path, study, cells))
    seen = visit(index)
    timing = json.loads(seen.page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
    assert timing["domInteractive"] < 3000
    assert seen.page.evaluate("performance.now()") < 10_000
    assert index.stat().st_size < 6e6
