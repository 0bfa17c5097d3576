"""What the page's tables and figures do when they are asked, in a real browser; without one these tests skip."""

import re

import pandas as pd
import pytest

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from analysis.report.page import page
from tests.analysis import runs
from tests.analysis.browsing import NARROW, needs_browser

pytestmark = [needs_browser, pytest.mark.matrix]


def test_a_header_sorts_up_down_and_back(visit, search_page):
    seen = visit(search_page)
    table = "[aria-label='Table: Ranking'] table"
    ranking = pd.read_parquet(search_page.parent / "ranking.parquet")
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


def test_enter_on_a_header_sorts_and_equal_digits_sort_in_full(visit, ablation_page):
    seen = visit(ablation_page)
    table = "[aria-label='Table: Every comparison, test_balanced_accuracy'] table"
    compared = pd.read_parquet(ablation_page.parent / "ablation.parquet")
    heads = seen.page.eval_on_selector_all(f"{table} th", "heads => heads.map(head => head.textContent)")
    place = heads.index("p (Holm)") + 1
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


def test_text_sorts_as_a_reader_counts(visit, ablation_page):
    seen = visit(ablation_page)
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


def test_a_filter_shows_the_rows_that_hold_every_word(visit, search_page):
    seen = visit(search_page)
    region = seen.page.locator("[aria-label='Table: Trials']")
    box = seen.page.get_by_label("Filter, Table: Trials")
    trials = pd.read_parquet(search_page.parent.parent / "trials.parquet")
    assert seen.column("[aria-label='Table: Trials']", 1) == trials["cell"].tolist()
    box.fill("c1 FINISHED")
    wanted = [cell for cell, trial in zip(trials["cell"], trials["trial"], strict=True) if "c1" in f"{cell} {trial}"]
    assert seen.column("[aria-label='Table: Trials']", 1) == wanted
    assert 0 < len(wanted) < len(trials)
    assert seen.page.locator(".tools", has=box).locator("output").text_content() == f"{len(wanted)} of {len(trials)}"
    box.fill("")
    assert region.locator("tbody tr:not(.out)").count() == len(trials)


def opacities(seen, figure):
    """Of the lines of a figure, by their cells' places."""
    return seen.page.eval_on_selector_all(
        f"[data-figure={figure}] .mark-line path", "all => all.map(one => Number(one.getAttribute('opacity') ?? 1))"
    )


def test_a_cell_that_is_picked_is_brought_out_in_all_curves(visit, ablation_page):
    seen = visit(ablation_page)
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


def test_a_cell_stays_picked_when_figures_are_fitted_anew(visit, ablation_page):
    seen = visit(ablation_page)
    seen.page.locator("#curves select").select_option("loss=l3")
    before = opacities(seen, "curves_loss")
    room = seen.page.get_attribute("[data-figure=curves_loss]", "data-room")
    seen.page.set_viewport_size({"width": 1100, "height": 900})
    drawn_anew = "room => document.querySelector('[data-figure=curves_loss]').dataset.room !== room"
    seen.page.wait_for_function(drawn_anew, arg=room)
    seen.page.wait_for_timeout(400)
    assert opacities(seen, "curves_loss") == before
    assert before.count(1) == len(before) // 12


def test_cells_that_share_a_learning_rate_are_offered_by_their_own_names(visit, ablation_page):
    seen = visit(ablation_page)
    offered = seen.page.locator("#curves select option").all_text_contents()
    assert "loss=l3" in offered
    assert not any(re.match(r"all \d+ cells", name) for name in offered)
    named = "() => [...document.querySelectorAll('[data-figure=curves_lr] text')].map(one => one.textContent)"
    assert any(re.match(r"all \d+ cells", text) for text in seen.page.evaluate(named))


def test_a_point_tells_its_figures(visit, ablation_page):
    seen = visit(ablation_page)
    point = seen.page.locator("[data-figure=ablation] .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    told = seen.page.locator("#vg-tooltip-element")
    seen.page.wait_for_selector("#vg-tooltip-element.visible")
    assert "verdict" in told.text_content()


def test_figures_are_fitted_anew_when_the_window_changes(visit, ablation_page):
    seen = visit(ablation_page)
    seen.page.set_viewport_size(NARROW)
    seen.page.wait_for_function(
        "[...document.querySelectorAll('.chart svg')].every(one => one.getBoundingClientRect().width <= 350)"
        " && document.querySelector('.chart').dataset.room < 400"
    )
    seen.page.wait_for_timeout(400)
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert seen.said == []


def test_a_figure_that_cannot_be_drawn_says_where_it_is(visit, tmp_path):
    import altair as alt

    from analysis.figures.theme import Figure

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
