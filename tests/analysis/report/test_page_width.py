"""No column of a table stands outside of the window from 1100 pixels on: lesser ones fold, and are named below."""

import pytest

from analysis.report.build import write_report
from tests.analysis import golden_tables, runs
from tests.analysis.browsing import needs_browser

pytestmark = [needs_browser, pytest.mark.usefixtures("undrawn")]

OUTSIDE = """[...document.querySelectorAll('.scroll th, .scroll td')].filter(cell => cell.offsetParent
    && cell.getBoundingClientRect().right > cell.closest('.scroll').getBoundingClientRect().right + 1
    ).map(cell => cell.textContent)"""
LONG = "an_even_longer_name_without_any_space_in_it_as_of_a_setting"


def ablation(path):
    cells = {"baseline": [0.70, 0.71, 0.72], f"loss={LONG}": [0.71, 0.72, 0.70], "loss=lost": ["failed"] * 3}
    cells |= {"loss=a rather long name of a level that no table wants": [0.8, 0.815, 0.82]}
    study = runs.study(cells)
    for cell in study["cells"]:
        cell["reference"] = "81.3 % (their Table 2)"
    return runs.write_outcomes(path, study, cells)


def factorial(path):
    study = runs.factorial({"loss function": ["ce", LONG], "sampler": ["uniform", "weighted"], "crop": ["no", "yes"]})
    cells = [cell["name"] for cell in study["cells"]]
    return runs.write_outcomes(
        path, study, {name: [0.6 + 0.02 * n + 0.003 * (n * s % 7) for s in range(5)] for n, name in enumerate(cells)}
    )


def search(path):
    keys = [
        f"{kind}.{name}_of_something" for kind in ("model", "optimizer") for name in ("rate", "decay", "width", "sort")
    ]
    cells = {f"c{n:02d}abcdef0123": [0.5 + n / 50] for n in range(12)}
    own = {name.partition(".")[2]: 1.234e-5 if "rate" in name else f"{LONG}" for name in keys}
    config = {"model": own, "optimizer": own}
    return runs.write_outcomes(path, runs.search(keys, samples=12), cells, configs=dict.fromkeys(cells, config))


STUDIES = {"ablation": ablation, "factorial": factorial, "search": search, "ladder": golden_tables.ladder}


@pytest.mark.parametrize("name", STUDIES)
def test_every_column_is_inside_of_the_window(visit, tmp_path, name):
    index = write_report(STUDIES[name](tmp_path))
    seen = visit(index, {"width": 1100, "height": 900})
    assert seen.page.evaluate(OUTSIDE) == []
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    seen.page.set_viewport_size({"width": 1280, "height": 900})
    assert seen.page.evaluate(OUTSIDE) == []
    heads = seen.page.locator(".scroll").first.locator("th:visible").all_text_contents()
    assert {"ablation": "verdict", "factorial": "verdict", "ladder": "verdict", "search": "mean"}[name] in heads
    assert seen.said == []


def test_folded_columns_are_named_and_come_back(visit, tmp_path):
    seen = visit(write_report(ablation(tmp_path)), {"width": 1100, "height": 900})
    first = seen.page.locator(".scroll").first
    button = first.locator("xpath=following-sibling::button[1]")
    assert "more column" in button.text_content()
    folded = button.text_content().partition(": ")[2].split(", ")
    assert not any(first.locator("th", has_text=name).last.is_visible() for name in folded)
    button.click()
    assert all(first.locator("th", has_text=name).last.is_visible() for name in folded)
    assert button.get_attribute("aria-expanded") == "true"


def test_a_wide_window_folds_nothing_of_a_small_table(visit, tmp_path):
    cells = {"baseline": [0.70, 0.71, 0.72], "loss=a": [0.71, 0.72, 0.70]}
    seen = visit(write_report(runs.write_outcomes(tmp_path, runs.study(cells), cells)), {"width": 1400, "height": 900})
    assert seen.page.locator(".fold:visible").count() == 0
    assert seen.page.locator(".folded").count() == 0
