"""What a terminal shows of a search's configurations: their settings, not only the names made of them."""

import pandas as pd
import pytest
from rich.console import Console

from analysis.console import console_table, short_settings
from analysis.records.store import read_records
from analysis.tables.ranking import ranking_table, settings_of_cells
from tests.analysis import searches


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"optimizer.lr": 0.0123456, "optimizer.momentum": 0.9}, "lr 0.01235, momentum 0.9"),
        ({"optimizer.name": "adam", "optimizer.lr": 1e-4}, "optimizer adam, lr 0.0001"),
        ({"schedule.gamma": 0.5, "loss.gamma": 2.0, "model.hidden": 8}, "schedule.gamma 0.5, loss.gamma 2, hidden 8"),
        ({"model.bn_after": [], "model.dropout_after": ("conv1", "fc1")}, "bn_after none, dropout_after conv1+fc1"),
        ({"model.bn_after": '["conv1"]', "augmentation.flip": True}, "bn_after conv1, flip True"),
        ({"schedule.gamma": None, "model.hidden": pd.NA, "optimizer.lr": float("nan")}, ""),
        ({}, ""),
    ],
)
def test_settings_are_shortened(settings, text):
    assert short_settings(settings) == text


def test_many_settings_are_cut():
    text = short_settings({f"model.setting_{number}": number for number in range(50)})
    assert len(text) == 80
    assert text.endswith("…")


def test_the_table_of_a_search_shows_the_varied_settings(tmp_path):
    points = [{"optimizer.lr": 0.03, "schedule.name": "step", "schedule.gamma": 0.25}, {"schedule.name": "constant"}]
    trials = [searches.trial(f"c{number}", point, 0.5 + number) for number, point in enumerate(points)]
    run = searches.write(tmp_path / "run", [searches.LR, searches.SCHEDULE, searches.GAMMA], trials)
    table = ranking_table(read_records(run))
    console = Console(width=110, record=True, file=(tmp_path / "out").open("w"))
    console.print(console_table("ranking", table, settings_of_cells(table)))
    text = console.export_text()
    assert "lr 0.03, schedule step, gamma 0.25" in text
    assert "lr 0.01, schedule constant\n" in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    assert max(map(len, text.splitlines())) <= 110
