"""The report of runs in every state, from the records alone."""

import re
import subprocess
import sys
from contextlib import nullcontext
from functools import cache

import numpy as np
import pandas as pd
import pytest

from analysis.records.store import read_records
from analysis.report import build
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.report.narrative import answers, permutation_floor
from tests.analysis import runs
from tests.analysis.page_text import words

BASE = [0.80, 0.81, 0.79, 0.82, 0.80]
MUCH = [0.90, 0.92, 0.88, 0.93, 0.91]
FACTORS = {"loss": ["ce", "class_balanced"], "sampler": ["uniform", "weighted"]}


def make_factorial(path):
    study = runs.factorial(FACTORS, further_metrics=["val_roughness"])
    outcomes = {cell["name"]: BASE if "weighted" not in cell["name"] else MUCH for cell in study["cells"]}
    return runs.write_outcomes(path, study, outcomes)


@pytest.fixture(scope="module")
def factorial(tmp_path_factory):
    return make_factorial(tmp_path_factory.mktemp("factorial"))


@pytest.fixture(scope="module")
def index(factorial):
    """The page of its report, which is whole and written once."""
    return write_report(factorial)


def test_a_factorial_leaves_every_table_in_three_forms(factorial, index):
    assert index == factorial / "report" / "index.html"
    names = ["ranking", "ablation", "ablation_val_roughness", "effects", "interactions", "curves", "stability"]
    for name in names:
        for ending in ("csv", "md", "tex"):
            assert (factorial / "report" / f"{name}.{ending}").stat().st_size > 0
    figures = factorial / "report" / "figures"
    drawn = ["ablation", "curves_balanced_accuracy", "curves_loss", "curves_lr", "curves_reference", "stability"]
    assert sorted(path.name for path in figures.iterdir()) == [f"{name}.svg" for name in drawn]
    assert (factorial / "trials.parquet").exists()


@pytest.mark.usefixtures("index")
def test_ablation_csv_agrees_with_trials_parquet(factorial):
    trials = pd.read_parquet(factorial / "trials.parquet").set_index(["cell", "seed"])[runs.METRIC]
    table = pd.read_csv(factorial / "report" / "ablation.csv")
    cells = [comparison["cell"] for comparison in read_records(factorial).study["comparisons"]]
    for cell, row in zip(cells, table.itertuples(), strict=True):
        assert row.delta == pytest.approx((trials[cell] - trials["baseline"]).mean(), abs=1e-9)


def test_the_page_opens_with_the_question_and_answers_it(index):
    text = words(index)
    assert text.index("Does the loss matter?") < text.index("sampler = weighted: balanced accuracy +0.10")
    assert re.search(r"sampler = weighted: balanced accuracy \+0\.10 \[0\.0\d+, 0\.1\d+\] over 5 seeds.*?better", text)
    assert "identical" not in text
    assert "smallest permutation p 0.06250 (2/2^5) with 5 seeds and so cannot reach 0.05" in text
    assert "commit 0123abc" in text


def test_the_page_needs_no_other_file(index):
    page = index.read_text(encoding="utf-8")
    tags = re.sub(r"(?s)(<script[^>]*>).*?</script>", r"\1", page)
    assert not re.search(r"<script[^>]*\ssrc|<link|<img|<iframe|url\((?!#)|@import|http-equiv", tags)
    links = set(re.findall(r'(?:href|src)="([^"#][^"]*)"', tags))
    assert links == {f"figures/{path.name}" for path in (index.parent / "figures").iterdir()}
    assert "color-scheme: light dark" in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_escapes_what_the_records_hold(tmp_path):
    study = runs.study(["baseline"], [0], question="Is 1 < 2 <script>alert(1)</script>?")
    events = [runs.start("baseline", 0), runs.end("baseline", 0, "failed", error="<b>broke</b>")]
    page = write_report(runs.write(tmp_path, study, events)).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>broke</b>" not in page
    assert "&lt;b&gt;broke&lt;/b&gt;" in page


def test_writing_again_changes_nothing_and_leaves_nothing_behind(factorial, index):
    def contents():
        return {path.relative_to(factorial): path.read_bytes() for path in factorial.rglob("*") if path.is_file()}

    first = contents()
    assert write_report(factorial) == index
    assert contents() == first
    assert not [path for path in first if path.name.startswith(".")]


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_never_started_says_so(tmp_path):
    run = runs.write(tmp_path, runs.study(["baseline", "loss=a"]), [])
    text = words(write_report(run))
    assert "This run is not finished: none started, of 6 planned trials" in text
    assert "No trial has finished, so nothing can be compared yet." in text
    assert pd.read_csv(run / "report" / "ablation.csv")["verdict"].tolist() == ["too few runs"]


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_even_a_log_can_be_reported(tmp_path):
    run = runs.write(tmp_path, runs.study(), [])
    (run / "log.jsonl").unlink()
    assert write_report(run).exists()


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_run_shows_what_it_has(tmp_path):
    outcomes = {"baseline": [0.8, 0.81, 0.82], "loss=a": [0.9, "running"]}
    text = words(write_report(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes)))
    assert "not finished: 4 finished, 1 running, of 6 planned trials" in text
    assert "loss = a: balanced accuracy +0.10 over 1 seed, against ce: too few runs" in text


def test_a_finished_run_is_not_called_unfinished(index):
    assert "not finished" not in words(index)


@pytest.mark.usefixtures("undrawn")
def test_failures_are_listed_with_their_error_and_the_command_that_repeats_them(tmp_path):
    outcomes = {"baseline": [0.8, "failed", "diverged"]}
    text = words(write_report(runs.write_outcomes(tmp_path, runs.study(), outcomes)))
    assert "baseline, seed 1: failed after 4 epochs" in text
    assert f"it broke python run_search.py rerun results {runs.trial_id('baseline', 1)}" in text
    assert "baseline, seed 2: diverged after 4 epochs" in text


@pytest.mark.usefixtures("undrawn")
def test_a_finished_trial_that_was_not_verified_is_no_success(tmp_path):
    events = [*runs.trial("baseline", 0, 0.8)[:-1], runs.end("baseline", 0, verified=False)]
    assert "finished, not verified" in words(write_report(runs.write(tmp_path, runs.study(), events)))


@pytest.mark.usefixtures("undrawn")
def test_invalid_cells_say_why(tmp_path):
    study = runs.study(["baseline", "loss=a"])
    study["cells"][1]["invalid"] = "no target for it"
    assert "loss=a: not run: no target for it" in words(write_report(runs.write(tmp_path, study, [])))


@pytest.mark.usefixtures("undrawn")
def test_a_search_names_its_winner_and_how_it_was_chosen(tmp_path):
    outcomes = {"c0": [0.5], "c1": [0.7], "c2": ["stopped"], "c3": ["diverged"]}
    run = runs.write_outcomes(tmp_path, runs.search(), outcomes)
    text = words(write_report(run))
    assert "c1: best balanced accuracy in validation, 0.710; 0.700 in test, which did not choose it" in text
    assert "(optimizer.lr = 0.01)" in text
    assert not (run / "report" / "ablation.csv").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_study_whose_metric_has_no_epoch_curve_still_reports(tmp_path):
    outcomes = {"baseline": BASE, "loss=a": MUCH}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(5), metric="val_roughness"), outcomes)
    assert "roughness" in words(write_report(run))


def test_sentences_read_as_the_answer(tmp_path):
    study = runs.study(["baseline", "loss=much", "loss=same", "loss=shaky", "loss=lost"], range(5))
    study["cells"][2]["identical_to"] = "baseline"
    outcomes = {
        "baseline": BASE,
        "loss=much": MUCH,
        "loss=shaky": ["diverged", *MUCH[1:]],
        "loss=lost": ["failed"] * 5,
    }
    records = read_records(runs.write_outcomes(tmp_path, study, outcomes))
    much, same, shaky, lost = map(str, answers(records, report_tables(records)))
    assert re.fullmatch(
        r"loss = much: balanced accuracy \+0\.10 \[0\.0\d+, 0\.1\d+\] over 5 seeds, against ce: better "
        r"\(p_holm (0\.\d{3}|< 0\.001)\)\.",
        much,
    )
    assert same == "loss = same: the same configuration as baseline, which ran once: identical."
    assert shaky.endswith("over 4 seeds, against ce: unstable (1 diverged).")
    assert lost == "loss = lost: no seed has finished both this and ce: too few runs (5 failed)."


def test_an_interaction_is_told_in_words(factorial):
    records = read_records(factorial)
    last = str(answers(records, report_tables(records))[-1])
    assert last.startswith("loss = class_balanced with sampler = weighted: interaction ")
    assert "no clear interaction" in last


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_fewer_than_three_seeds_say_nothing_of_an_interaction(tmp_path, seeds):
    study = runs.factorial(FACTORS)
    outcomes = {cell["name"]: [0.5] * seeds for cell in study["cells"]}
    records = read_records(runs.write_outcomes(tmp_path, study, outcomes))
    assert answers(records, report_tables(records))[-1].verdict == "too few runs"


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        (1, "one seed gives no p-value"),
        (6, "0.03125 (2/2^6) with 6 seeds"),
        (20, "9.999e-05 (random flips) with 20 seeds"),
    ],
)
def test_the_page_states_the_smallest_p_that_the_seeds_can_give(seeds, text):
    assert permutation_floor(seeds) == text


@pytest.mark.usefixtures("undrawn")
def test_a_large_search_keeps_its_page_and_its_curves_small(tmp_path):
    rng = np.random.default_rng(0)
    outcomes = {f"c{number:03d}": [float(rng.uniform())] for number in range(130)}
    run = runs.write_outcomes(tmp_path, runs.search(samples=130), outcomes)
    text = words(write_report(run))
    assert "The first 50 rows; 80 more are in ranking.csv." in text
    assert len(pd.read_csv(run / "report" / "ranking.csv")) == 130
    assert pd.read_csv(run / "report" / "curves.csv")["cell"].nunique() == 100


@cache
def loaded(module):
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.matrix
def test_the_report_loads_neither_torch_nor_ray_nor_optuna():
    assert not {"torch", "ray", "optuna", "datasets", "trainables", "search_spaces", "engine"} & loaded(
        "analysis.report.build"
    )


def test_records_are_read_without_scipy_altair_or_jinja():
    assert not {"scipy", "statsmodels", "altair", "vl_convert", "jinja2", "torch"} & loaded("analysis.records.store")


def test_figures_load_only_where_they_are_drawn():
    assert not {"altair", "vl_convert", "jinja2", "torch"} & (
        loaded("analysis.report.build") | loaded("analysis.console")
    )


@pytest.mark.parametrize("kind", ["ablation", "search"])
@pytest.mark.usefixtures("undrawn")
def test_every_figure_is_what_the_schema_of_vega_lite_allows(kind, tmp_path, monkeypatch):
    if kind == "search":
        run = runs.write_outcomes(tmp_path, runs.search(), {f"c{i}": [0.5 + i / 50] for i in range(12)})
    else:
        run = make_factorial(tmp_path)
    drawn = []
    monkeypatch.setattr(build, "unchecked", nullcontext)
    monkeypatch.setattr(build, "page", lambda records, tables, figures, *others: drawn.extend(figures) or "")
    write_report(run)
    assert drawn
    for figure in drawn:
        figure.chart.to_dict()  # SchemaValidationError where it is not
