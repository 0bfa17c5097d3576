"""The page in a real browser, as a whole: Chromium or Chrome of this machine, headless; without one these tests skip.

The page is opened as a file, as a reader opens it who was sent it. What answers to the mouse and to the keys is in
test_page_controls.py.
"""

import json
import re
import shutil
from itertools import pairwise

import pandas as pd
import pytest

from analysis.report.build import write_report
from tests.analysis import runs
from tests.analysis.browsing import NARROW, READY, WIDE, needs_browser
from tests.analysis.states import STATES

pytestmark = [needs_browser, pytest.mark.usefixtures("undrawn")]

CONTROLS = "[...document.querySelectorAll('a[href], button, input, select, summary')]"


@pytest.fixture(params=["ablation_page", pytest.param("search_page", marks=pytest.mark.matrix)])
def index(request):
    return request.getfixturevalue(request.param)


def test_nothing_goes_wrong_and_nothing_is_asked_of_anywhere(look, index):
    seen = look(index)
    assert seen.said == []
    assert seen.asked == [index.as_uri()]


@pytest.mark.matrix
def test_a_page_that_was_moved_away_from_its_folder_is_whole(visit, ablation_page, tmp_path):
    alone = tmp_path / "sent.html"
    shutil.copy(ablation_page, alone)
    seen = visit(alone)
    assert seen.said == []
    assert seen.page.locator(".chart svg").count() == seen.page.locator("[data-figure]").count()


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400", "390"])
@pytest.mark.matrix
def test_every_figure_is_drawn_and_nothing_overflows(look, index, viewport):
    seen = look(index, viewport)
    figures = seen.page.locator("[data-figure]")
    assert figures.count() > 3
    for place in range(figures.count()):
        box = figures.nth(place).locator("svg").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        assert box["height"] > 50
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400", "390"])
@pytest.mark.matrix
def test_the_answer_is_read_without_scrolling(look, index, viewport):
    seen = look(index, viewport)
    first = seen.page.locator(".answers li").first.bounding_box()
    assert first["y"] + first["height"] < viewport["height"]
    question = seen.page.locator("h1").bounding_box()
    assert 0 <= question["y"] < first["y"]


@pytest.mark.matrix
def test_clear_answers_come_first_and_the_last_ones_fold(look, ablation_page):
    seen = look(ablation_page)
    compared = pd.read_parquet(ablation_page.parent / "ablation.parquet")
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
@pytest.mark.matrix
def test_the_page_of_a_run_of_any_state_draws_without_a_word(visit, page_of_state, state):
    seen = visit(page_of_state(state))
    assert seen.said == []
    assert seen.page.locator("[data-figure] > svg").count() == seen.page.locator("[data-figure]").count()


@pytest.mark.matrix
def test_paper_is_white_and_shows_all_rows_and_answers(visit, ablation_page):
    seen = visit(ablation_page, color_scheme="dark")
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


@pytest.mark.matrix
def test_figures_follow_the_page_into_the_dark_and_the_choice_is_remembered(visit, ablation_page):
    seen = visit(ablation_page, color_scheme="light")
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


@pytest.mark.matrix
def test_the_page_follows_the_system_until_it_is_told_otherwise(visit, ablation_page):
    seen = visit(ablation_page, color_scheme="dark")
    dark = ink(seen)
    seen.page.emulate_media(color_scheme="light")
    assert ink(seen) != dark


@pytest.mark.matrix
def test_storage_that_is_forbidden_breaks_nothing(browser, ablation_page):
    context = browser.new_context()
    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    opened, said = context.new_page(), []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(ablation_page.as_uri())
    opened.wait_for_selector(READY)
    opened.locator("#theme").click()
    assert opened.locator("html").get_attribute("data-theme") in ("light", "dark")
    assert said == []
    context.close()


@pytest.mark.matrix
def test_without_javascript_all_is_there_to_read_and_figures_name_their_files(visit, ablation_page):
    seen = visit(ablation_page, ready=False, java_script_enabled=False)
    assert seen.page.locator("[aria-label='Table: Trials'] tbody tr").first.is_visible()
    notes = seen.page.locator("[data-figure]").all_text_contents()
    names = [f"figures/{path.name}" for path in (ablation_page.parent / "figures").iterdir()]
    assert sorted(re.search(r"figures/\w+\.svg", note)[0] for note in notes) == sorted(names)
    assert not seen.page.locator("#theme").is_visible()


@pytest.mark.matrix
def test_every_control_is_reached_by_the_keyboard(visit, ablation_page):
    seen = visit(ablation_page)
    controls = seen.page.evaluate(
        f"{CONTROLS}.filter(one => one.checkVisibility() && !one.closest('details:not([open]) > :not(summary)')).length"
    )
    reached = set()
    for _ in range(controls + 40):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate(f"{CONTROLS}.indexOf(document.activeElement)"))
    assert len(reached - {-1}) == controls
    assert controls > 40


@pytest.mark.matrix
def test_headings_step_down_one_at_a_time_and_figures_have_names(look, index):
    seen = look(index)
    levels = seen.page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = seen.page.eval_on_selector_all(
        "[data-figure]", "all => all.map(one => one.getAttribute('aria-label') || '')"
    )
    titles = seen.page.eval_on_selector_all("figure h3", "all => all.map(one => one.textContent)")
    assert all(name.startswith(f"{title}. ") for name, title in zip(names, titles, strict=True))


@pytest.mark.matrix
def test_the_contents_stand_beside_a_wide_page_and_above_a_narrow_one(look, visit, ablation_page):
    wide, narrow = look(ablation_page), visit(ablation_page, NARROW)
    assert wide.page.locator(".side").is_visible()
    assert not wide.page.locator(".top-contents").is_visible()
    assert not narrow.page.locator(".side").is_visible()
    narrow.page.locator(".top-contents summary").click()
    narrow.page.locator(".top-contents a", has_text="Trials").click()
    assert narrow.page.locator("#trials h2").bounding_box()["y"] < NARROW["height"]
    anchors = wide.page.eval_on_selector_all(".side a", "all => all.map(one => one.hash.slice(1))")
    assert all(wide.page.locator(f"[id='{anchor}']").count() == 1 for anchor in anchors)


def running(path):
    outcomes = {"baseline": [0.8, 0.81, 0.82], "loss=a": [0.9, "running"]}
    return write_report(runs.write_outcomes(path, runs.study(outcomes), outcomes))


@pytest.mark.matrix
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


@pytest.mark.matrix
def test_a_page_that_nobody_rewrites_stops_loading_itself(visit, tmp_path):
    index = running(tmp_path)
    old = re.sub(r'data-written="\d+"', 'data-written="1000000000000"', index.read_text(encoding="utf-8"))
    index.write_text(old, encoding="utf-8")
    assert visit(index).page.locator("#reload").text_content() == ""


LOOP = (
    "(() => { const t = performance.now(); let s = 0; for (let i = 0; i < 5e7; i++) s += i % 7; "
    "return performance.now() - t; })()"
)
"""milliseconds of a loop that takes 60 where nothing else runs: how much slower this machine is now"""


@pytest.mark.parametrize("make", ["ablation", "search"])
@pytest.mark.matrix
def test_a_study_of_a_thousand_cells_opens_soon(visit, tmp_path, make):
    """Time until everything is drawn, on a machine that may do other work."""
    cells = {f"loss=l{place}" if place else "baseline": [0.5 + place % 97 / 300] for place in range(1000)}
    study = runs.study(cells, [0]) if make == "ablation" else runs.search(samples=1000)
    index = write_report(runs.write_outcomes(tmp_path, study, cells))
    seen = visit(index)
    timing = json.loads(seen.page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
    slower = max(1.0, seen.page.evaluate(LOOP) / 60)
    assert timing["domInteractive"] < 3000 * slower
    assert seen.page.evaluate("performance.now()") < 10_000 * slower
    assert index.stat().st_size < 6e6
