"""Reports that several tests read, reports without what a test does not look at, and a browser that opens them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from analysis.report.build import write_report
from tests.analysis import runs
from tests.analysis.browsing import BROWSER, READY, SECONDS, WIDE, Seen
from tests.analysis.states import STATES
from tests.conftest import empty_figures


@pytest.fixture(scope="session")
def page_of_state(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a run in one of STATES, written once and changed by nobody; its SVG files are empty."""

    @cache
    def written(state: str) -> Path:
        make, _ = STATES[state]
        with empty_figures():
            return write_report(make(tmp_path_factory.mktemp("state")))

    return written


@pytest.fixture(scope="session")
def ablation_page(tmp_path_factory):
    """Eleven levels, one of them clearly better, one failing."""
    cells = {"baseline": [0.70, 0.71, 0.72]}
    cells |= {
        f"loss=l{place}": [0.5 + 0.013 * (7 * place % 11) + 0.001 * seed for seed in range(3)] for place in range(10)
    }
    cells |= {"loss=a rather long name of a level that no table wants": [0.8, 0.815, 0.82], "loss=lost": ["failed"] * 3}
    return write_report(runs.write_outcomes(tmp_path_factory.mktemp("ablation"), runs.study(cells), cells))


@pytest.fixture(scope="session")
def search_page(tmp_path_factory):
    cells = {f"c{place:02d}": [0.5 + 0.37 * place % 0.4] for place in range(30)}
    configs = {name: {"optimizer": {"lr": 0.0001 * 1.7**place}} for place, name in enumerate(cells)}
    run = tmp_path_factory.mktemp("search")
    return write_report(runs.write_outcomes(run, runs.search(samples=30), cells, configs=configs))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=SECONDS)
        yield opened
        opened.close()


def _opened(browser, index, viewport=WIDE, ready=True, **options):
    seen = Seen(browser.new_context(viewport=viewport, **options).new_page())
    seen.page.set_default_timeout(SECONDS)
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    seen.page.goto(index.as_uri())
    if ready:
        seen.page.wait_for_selector(READY)
    return seen


@pytest.fixture
def visit(browser):
    """`visit(index, viewport, …)` opens a page for the test alone."""
    opened = []

    def visited(*arguments, **options):
        opened.append(_opened(browser, *arguments, **options))
        return opened[-1]

    yield visited
    for seen in opened:
        seen.page.context.close()


@pytest.fixture(scope="module")
def look(browser):
    """`look(index, viewport)` is a page that all tests of the module look at, and none touches."""
    opened = {}

    def looked_at(index, viewport=WIDE):
        key = (index, *viewport.values())
        if key not in opened:
            opened[key] = _opened(browser, index, viewport)
        return opened[key]

    yield looked_at
    for seen in opened.values():
        seen.page.context.close()
