"""A search's tables beyond its ranking, and how far its best can be believed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.report.narrative import answers
from analysis.report.search_narrative import search_note
from analysis.tables.ranking import ranking_table
from analysis.tables.search.results import (
    RUNG_COLUMNS,
    TOP,
    TOP_COLUMNS,
    SearchResults,
    rungs_table,
    search_tables,
    top_table,
)
from tests.analysis import runs, searches
from tests.analysis.page_text import words

pytestmark = pytest.mark.usefixtures("undrawn")


def scored(path, pairs, space=(searches.LR,), **changes):
    """A search whose configurations have these (validation, test) accuracies."""
    trials = [
        searches.trial(f"c{i}", {"optimizer.lr": 0.01 * (i + 1)}, val, test=test) for i, (val, test) in enumerate(pairs)
    ]
    return searches.write(path, list(space), trials, **changes)


def noisy(n=40):
    rng = np.random.default_rng(0)
    merit = rng.uniform(0.7, 0.78, n)  # hardly more than the noise, so that choosing picks the noise
    return list(zip((merit + rng.normal(0, 0.03, n)).tolist(), (merit + rng.normal(0, 0.03, n)).tolist(), strict=True))


def test_the_top_is_the_rankings_with_the_place_that_test_gives(tmp_path):
    pairs = noisy()
    records = read_records(scored(tmp_path, pairs))
    table = top_table(SearchResults(records))
    assert list(table) == [*TOP_COLUMNS, "optimizer.lr"]
    assert table["cell"].tolist() == ranking_table(records)["cell"].tolist()[:TOP]
    val, test = np.array(pairs).T
    order = np.argsort(-val)[:TOP]
    assert table["val_mean"].to_numpy() == pytest.approx(val[order])
    assert table["gap"].to_numpy() == pytest.approx(val[order] - test[order])
    assert table["test_rank"].tolist() == stats.rankdata(-test)[order].astype(int).tolist()
    assert table["optimizer.lr"].to_numpy() == pytest.approx(0.01 * (order + 1))


def test_a_gap_is_positive_where_validation_flatters_also_of_an_error(tmp_path):
    events = []
    for cell, val, test in (("a", 1.0, 1.5), ("b", 2.0, 1.9)):
        metrics = {"val_ce": val, "test_ce": test, "val_reference": val}
        events += [runs.start(cell, 0), runs.epoch(cell, 0, 1, **metrics), runs.end(cell, 0)]
    records = read_records(runs.write(tmp_path, runs.search(metric="test_ce"), events))
    assert top_table(SearchResults(records))["gap"].tolist() == pytest.approx([0.5, -0.1])
    assert top_table(SearchResults(records))["test_rank"].tolist() == [1, 2]


def test_the_note_states_what_was_measured_and_ends_with_what_settles_it(tmp_path):
    pairs = noisy()
    note = search_note(SearchResults(read_records(scored(tmp_path, pairs))), "results/mine")
    val, test = np.array(pairs).T
    order = np.argsort(-val)
    assert f"Spearman's ρ {stats.spearmanr(val, test).statistic:.2f}" in note
    assert f"the first in validation is number {int(stats.rankdata(-test)[order[0]])} of 40 in test" in note
    top, others = np.median((val - test)[order[:10]]), np.median((val - test)[order[10:]])
    assert top > others
    assert f"the median +{top:#.2g} over the best 10" in note
    assert f"a difference of +{top - others:#.2g}" in note
    assert note.endswith("python run_search.py confirm results/mine")


def test_the_note_names_a_tie_and_leaves_out_what_too_few_configurations_cannot_say(tmp_path):
    tied = [(0.9, 0.8), (0.8, 0.8), (0.7, 0.7), (0.6, 0.6), (0.5, 0.5)]
    note = search_note(SearchResults(read_records(scored(tmp_path / "a", tied))))
    assert "one of several that share place 1 of 5 in test" in note
    assert "median" not in note
    few = search_note(SearchResults(read_records(scored(tmp_path / "b", tied[:3]))))
    assert "of 3 configurations" in few
    assert "Spearman" not in few


def test_seed_means_are_chosen_from_and_stopped_configurations_are_not(tmp_path):
    trials = [searches.trial(f"c{i}", {"optimizer.lr": 0.1}, 0.5 + i / 10) for i in range(3)]
    trials.append(searches.trial("cut", {"optimizer.lr": 0.2}, 0.99, status="stopped"))
    records = read_records(searches.write(tmp_path, [searches.LR], trials))
    assert top_table(SearchResults(records))["cell"].tolist() == ["c2", "c1", "c0"]
    assert "of 3 configurations" in search_note(SearchResults(records))


def test_a_setting_that_does_not_exist_has_no_value_in_the_top(tmp_path):
    trials = [
        searches.trial("plain", {"schedule.name": "constant"}, 0.5),
        searches.trial("step", {"schedule.name": "step", "schedule.gamma": 0.25}, 0.6),
    ]
    records = read_records(searches.write(tmp_path, [searches.SCHEDULE, searches.GAMMA], trials))
    assert top_table(SearchResults(records))["schedule.gamma"].fillna(-1).tolist() == [0.25, -1]


def test_rungs_count_who_reached_them_who_was_stopped_and_who_went_on(tmp_path):
    lengths = [1] * 6 + [3] * 3 + [9] * 2
    trials = [
        searches.trial(
            f"c{i}",
            {"optimizer.lr": 0.1},
            [0.1 * i / 10 + 0.05 * epoch for epoch in range(length)],
            status="finished" if length == 9 else "stopped",
        )
        for i, length in enumerate(lengths)
    ]
    trials.append(searches.trial("lost", {"optimizer.lr": 0.1}, [0.01], status="diverged"))
    records = read_records(searches.write(tmp_path, [searches.LR], trials, epochs=9))
    table = rungs_table(records)
    assert list(table) == list(RUNG_COLUMNS)
    assert table[["rung", "epoch", "reached", "stopped", "went_on"]].to_numpy().tolist() == [
        [1, 1, 12, 6, 5],
        [2, 3, 5, 3, 2],
        [3, 9, 2, 0, 0],
    ]
    assert table["best_value"].tolist() == pytest.approx([0.1, 0.1 + 0.1, 0.1 + 0.4])


def test_without_a_stop_there_are_no_rungs(tmp_path):
    assert "rungs" not in search_tables(SearchResults(read_records(scored(tmp_path, noisy(12)))))


def test_an_ablation_and_a_search_with_nothing_to_choose_from_have_no_tables(tmp_path):
    ablation = read_records(runs.write_outcomes(tmp_path / "a", runs.study(), {"baseline": [0.7]}))
    assert search_tables(SearchResults(ablation)) == {}
    assert search_note(SearchResults(ablation)) == ""
    for name, pairs in (("none", []), ("one", [(0.9, 0.8)])):
        records = read_records(scored(tmp_path / name, pairs))
        assert search_tables(SearchResults(records)) == {}
        assert search_note(SearchResults(records)) == ""


def test_what_trained_on_its_validation_data_is_not_ranked_by_it(tmp_path):
    trials = [
        searches.trial(f"c{i}", {"optimizer.lr": 0.1, "dataset.train_on_validation": True}, 0.5 + i / 10)
        for i in range(3)
    ]
    records = read_records(searches.write(tmp_path, [searches.LR], trials, selection={"rule": "last"}))
    assert search_tables(SearchResults(records)) == {}


@pytest.mark.matrix
def test_a_report_writes_the_tables_and_the_note(tmp_path):
    run = scored(tmp_path, noisy())
    tables = report_tables(read_records(run))
    assert {"importance", "marginals", "top"} <= set(tables)
    text = words(write_report(run))
    assert "A search's best is optimistic: of 40 configurations" in text.replace("’", "'")
    for name in ("importance", "marginals", "top"):
        written = pd.read_csv(run / "report" / f"{name}.csv")
        assert len(written) == len(tables[name])
        assert "\\caption{Validation accuracy" in (run / "report" / f"{name}.tex").read_text()


def test_configurations_with_the_same_validation_figure_are_said_to_share_it(tmp_path):
    tied = [(0.9, 0.8), (0.9, 0.7), (0.7, 0.75), (0.6, 0.6), (0.5, 0.5)]
    records = read_records(scored(tmp_path / "a", tied))
    note = search_note(SearchResults(records))
    assert "it is one of 2 with the same validation figure, which came out best" in note
    assert "the first listed of the 2 that are first in validation is number 1 of 5 in test" in note
    assert "one of 2 with the same validation figure" in answers(records, report_tables(records))[0].text
    alone = read_records(scored(tmp_path / "b", tied[1:]))
    assert "one of" not in search_note(SearchResults(alone)) + answers(alone, report_tables(alone))[0].text


def test_a_stopped_configuration_ties_with_no_finished_one(tmp_path):
    pairs = [("a", 0.9, "finished"), ("b", 0.8, "finished"), ("cut", 0.9, "stopped")]
    trials = [searches.trial(cell, {"optimizer.lr": 0.1}, value, status=status) for cell, value, status in pairs]
    records = read_records(searches.write(tmp_path, [searches.LR], trials))
    assert "same validation figure" not in answers(records, report_tables(records))[0].text


def test_gaps_that_differ_by_rounding_only_do_not_differ(tmp_path):
    """Validation is ahead by 0.05 everywhere, which floating point does not always make of the two."""
    pairs = [(0.9 - i / 25, 0.9 - i / 25 - 0.05) for i in range(20)]
    val, test = np.array(pairs).T
    assert np.median((val - test)[:TOP]) != np.median((val - test)[TOP:])
    note = search_note(SearchResults(read_records(scored(tmp_path, pairs))))
    assert "over the best 10 and +0.050 over the others, a difference of 0" in note
    assert "e-" not in note
