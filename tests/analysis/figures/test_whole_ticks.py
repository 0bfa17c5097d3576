"""Axes of epochs, trials and other whole numbers are labelled with whole numbers, each once."""

import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from analysis.figures.learning_curve_plots import curve_figures
from analysis.figures.search.trial_history import history_figure, traces_figure
from analysis.figures.theme import Figure, inline, whole_ticks
from analysis.records.store import read_records
from analysis.tables.learning_curves import curves_table
from tests.analysis import runs


def labels(svg: str, title: str) -> list[list[str]]:
    """The labels of each x axis of this title."""
    axes = [
        group
        for group in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
        if re.match(f"X-axis titled '{title}'", group.get("aria-label", ""))
    ]
    return [
        [text.text or "" for group in axis.iter() if "role-axis-label" in group.get("class", "") for text in group]
        for axis in axes
    ]


def trained(path, epochs, cells=("baseline", "loss=a"), study=None):
    def trial(cell, seed):
        rows = [
            runs.epoch(
                cell,
                seed,
                n,
                val_reference=1 / n,
                lr=0.1 / n,
                **dict.fromkeys((runs.METRIC, "val_balanced_accuracy"), 0.5 + n / 100),
            )
            for n in range(1, epochs + 1)
        ]
        return [runs.start(cell, seed), *rows, runs.end(cell, seed)]

    study = study or runs.study(cells, epochs=epochs)
    events = [event for cell in cells for seed in study["seeds"] for event in trial(cell, seed)]
    return read_records(runs.write(path, study, events))


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 7, 30])
def test_the_epochs_of_curves_are_whole_and_each_stands_once(tmp_path, epochs):
    records = trained(tmp_path, epochs)
    figures = curve_figures(records, curves_table(records, list(records.cells)), list(records.cells))
    assert {"curves_loss", "curves_lr"} <= {figure.name for figure in figures}
    for figure in figures:
        for axis in labels(figure.svg(), "epoch"):
            assert axis == sorted(set(axis), key=int)
            assert 1 <= len(axis) <= 6
            assert all(1 <= int(label) <= epochs for label in axis)
            assert epochs > 6 or axis == [str(epoch) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_a_search_of_a_few_trials_counts_them_in_whole_numbers(tmp_path, trials):
    cells = [f"c{place}" for place in range(trials)]
    records = trained(tmp_path, 2, cells, runs.search(samples=trials, epochs=2))
    (axis,) = labels(history_figure(records).svg(), "trials in the order of their ends")
    assert axis == [str(place) for place in range(1, trials + 1)]


def test_the_rungs_of_two_epochs_are_whole(tmp_path):
    records = trained(tmp_path, 2, ["c0", "c1"], runs.search(samples=2, epochs=2))
    figure = traces_figure(records, pd.DataFrame({"epoch": [1], "reached": [2], "stopped": [1]}))
    assert labels(figure.svg(), "epoch") == [["1", "2"]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, 1], [1]),
        ([1, 30], [5, 10, 15, 20, 25, 30]),
        ([1, 200], [50, 100, 150, 200]),
        ([16, 22], [16, 18, 20, 22]),
        ([None, None], [0]),
    ],
)
def test_ticks_are_round_and_between_the_ends(values, expected):
    assert whole_ticks(pd.Series(values, dtype="float64"))["values"] == expected


@pytest.mark.parametrize("value", [2.4763148104212938752e19, -(2.0**70), 1e300, 2.0**53])
def test_a_huge_loss_is_drawn(value: float) -> None:
    import altair as alt

    data = inline(pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, value]}))
    chart = alt.Chart(data).mark_line().encode(x="x:Q", y="y:Q")
    assert Figure("f", "curves", "Loss", "By epoch.", chart).svg().startswith("<svg")
