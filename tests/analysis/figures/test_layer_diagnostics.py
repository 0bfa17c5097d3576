"""Activation diagnostics: the table of the last epoch, the figures, and what is said to be wrong by which rule."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.layer_plots import activation_figures
from analysis.figures.theme import MAXIMUM_MARKS
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.layer_diagnostics import COLUMNS, MAXIMUM_CELLS, activation_rows, diagnostics_table, findings
from analysis.tables.ranking import ranking_table
from tests.analysis import outputs, runs

SEEDS, EPOCHS = 2, 5
LAYERS = (("conv1.layer", "Conv2d"), ("conv1.bn", "BatchNorm2d"), ("relu1", "ReLU"), ("fc", "Linear"))
OUTCOMES = {"baseline": [0.5] * SEEDS, "loss=a": [0.8] * SEEDS}
NOTHING = {"gradient_norm": None, "weight_norm": None, "update_ratio": None}


def rows(change=lambda epoch, layer: {}, layers=LAYERS, epochs=EPOCHS):
    """A row an epoch and layer; `change` alters single ones."""
    return [
        {"epoch": epoch, "layer": layer, "kind": kind}
        | ({} if kind in ("Conv2d", "Linear") else NOTHING)
        | change(epoch, layer)
        for epoch in range(1, epochs + 1)
        for layer, kind in layers
    ]


@pytest.fixture
def run(tmp_path):
    return runs.write_outcomes(tmp_path, runs.study(OUTCOMES, range(SEEDS)), OUTCOMES)


def write(run, cell="baseline", seeds=range(SEEDS), **options):
    for seed in seeds:
        outputs.diagnostics(run, cell, seed, rows(**options))


def read(run):
    records = read_records(run)
    return activation_rows(records, RunDirectory(run), ranking_table(records))


def test_the_table_holds_the_last_epochs_mean_over_seeds(run):
    rng = np.random.default_rng(0)
    values = {}

    def random(seed):
        def change(epoch, layer):
            values[seed, epoch, layer] = rng.uniform(size=2)
            return {"mean": values[seed, epoch, layer][0], "std": values[seed, epoch, layer][1]}

        return change

    for seed in range(SEEDS):
        write(run, seeds=[seed], change=random(seed))
    table = diagnostics_table(read(run))
    assert tuple(table) == COLUMNS
    assert table["layer"].tolist() == ["conv1", "conv1.bn", "relu1", "fc"]
    for place, (layer, _) in enumerate(LAYERS):
        expected = np.mean([values[seed, EPOCHS, layer] for seed in range(SEEDS)], axis=0)
        assert table.loc[place, ["mean", "std"]].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
        assert table.loc[place, ["epoch", "n"]].tolist() == [EPOCHS, SEEDS]
    assert table["gradient_norm"].isna().tolist() == [False, True, True, False]


def test_units_that_are_dead_to_the_end_in_all_seeds_are_named_with_the_first_epoch_of_it(run):
    write(run, change=lambda epoch, layer: {"dead": 1.0 if layer == "relu1" and epoch in (1, 3, 4, 5) else 0.5})
    assert findings(read(run)) == ["baseline, both seeds: 100 % of the units are dead in relu1 from epoch 3 on."]


def test_what_dies_in_one_seed_later_is_dead_from_then_on(run):
    for seed, first in ((0, 2), (1, 4)):
        write(run, seeds=[seed], change=lambda epoch, layer, first=first: {"dead": 0.995 * (epoch >= first)})
    assert findings(read(run)) == [
        "baseline, both seeds: more than 99 % of the units are dead in relu1 from epoch 4 on."
    ]


@pytest.mark.parametrize("dead", [(0.99, 0.99), (1.0, 0.9)])
def test_units_that_are_dead_in_one_seed_or_not_quite_are_no_finding(run, dead):
    for seed, share in enumerate(dead):
        write(run, seeds=[seed], change=lambda epoch, layer, share=share: {"dead": share})
    assert findings(read(run)) == []


def test_a_unit_that_is_dead_in_the_middle_only_is_no_finding(run):
    write(run, change=lambda epoch, layer: {"dead": float(epoch == 3)})
    assert findings(read(run)) == []


def test_a_gradient_that_vanished_is_named(run):
    write(run, change=lambda epoch, layer: {"gradient_norm": 1e-9} if layer == "conv1.layer" else {})
    assert findings(read(run)) == ["baseline, both seeds: no gradient reaches conv1 in the last epoch."]


def test_weights_that_hardly_move_are_named_and_those_of_a_rate_that_fell_are_not(run):
    write(run, change=lambda epoch, layer: {"update_ratio": 1e-6})
    write(run, "loss=a", change=lambda epoch, layer: {"update_ratio": 10.0**-epoch})
    assert findings(read(run)) == [
        "baseline, both seeds: no epoch changed any layer's weights by 0.01 % of their size."
    ]


def test_a_last_layer_that_is_not_linear_is_named(run):
    write(run, seeds=[0], layers=(*LAYERS[:3], ("fc", "RectifiedLinear")))
    [said] = findings(read(run))
    assert said == "baseline, one seed: the last layer, fc, is not linear (RectifiedLinear): what is below 0 is lost."


def test_the_figures_show_layers_and_say_first_what_is_wrong(run):
    write(run, change=lambda epoch, layer: {"dead": 1.0 if layer == "relu1" else 0.0})
    write(run, "loss=a")
    made = {figure.name: figure for figure in activation_figures(read(run))}
    assert list(made) == ["activations", "dead_units", "updates"]
    assert made["activations"].caption.startswith("baseline, both seeds: 100 % of the units are dead in relu1")
    assert "over 99 % of a layer's units dead" in made["activations"].caption
    assert all(figure.svg() == figure.svg() for figure in made.values())


def test_without_a_dead_unit_there_is_no_figure_of_them_but_a_sentence(run):
    write(run)
    made = {figure.name: figure for figure in activation_figures(read(run))}
    assert list(made) == ["activations", "updates"]
    assert made["activations"].caption.startswith("No unit of a rectifier is dead in any epoch.")


@pytest.mark.matrix
def test_deep_networks_and_long_runs_stay_within_what_a_figure_can_show(tmp_path):
    outcomes = {f"cell {place}": [0.5 + place / 100] for place in range(9)}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1)), outcomes)
    layers = [(f"{kind}{i}", kind) for i in range(80) for kind in ("Conv2d", "ReLU")]
    for cell in outcomes:
        write(run, cell, seeds=[0], layers=layers, epochs=120, change=lambda epoch, layer: {"dead": 0.5})
    read_rows = read(run)
    assert read_rows["cell"].nunique() == MAXIMUM_CELLS
    for figure in activation_figures(read_rows):
        spec = figure.spec()
        assert sum(map(len, spec["datasets"].values())) <= MAXIMUM_MARKS
        if figure.name != "activations":
            assert "evenly spaced" in figure.caption
            assert all(len(panel["encoding"]["y"]["scale"]["domain"]) == 40 for panel in spec["concat"])


def test_baseline_and_best_come_first_and_cells_without_records_are_passed_over(tmp_path):
    outcomes = {"baseline": [0.5], "loss=a": [0.4], "loss=b": [0.9], "loss=c": ["failed"]}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1)), outcomes)
    for cell in outcomes:
        write(run, cell, seeds=[0])
    assert list(dict.fromkeys(read(run)["cell"])) == ["baseline", "loss=b", "loss=a"]


def test_missing_torn_and_foreign_files_are_no_diagnostics(run):
    assert read(run).empty
    assert activation_figures(read(run)) == []
    (outputs.artifacts(run, "baseline", 0) / "diagnostics.parquet").write_bytes(b"torn")
    pd.DataFrame({"epoch": [1]}).to_parquet(outputs.artifacts(run, "baseline", 1) / "diagnostics.parquet")
    assert read(run).empty


def test_the_report_has_the_table_and_the_sentence(run):
    write(run, change=lambda epoch, layer: {"gradient_norm": 0.0} if layer == "fc" else {})
    text = write_report(run).read_text(encoding="utf-8")
    assert "no gradient reaches fc in the last epoch" in text
    assert pd.read_csv(run / "report" / "diagnostics.csv")["layer"].tolist() == ["conv1", "conv1.bn", "relu1", "fc"]
    assert (run / "report" / "figures" / "activations.svg").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_diverged_cell_shows_its_layers_and_what_is_infinite_is_left_out(tmp_path):
    outcomes = {"baseline": [0.5] * SEEDS, "loss=a": ["diverged"] * SEEDS}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(SEEDS)), outcomes)
    write(run, cell="loss=a", epochs=1, change=lambda epoch, layer: {"weight_norm": np.inf, "update_ratio": np.inf})
    found = read(run)
    assert set(found["cell"]) == {"loss=a"}
    assert not np.isinf(found[["weight_norm", "update_ratio"]]).any().any()
    assert activation_figures(found)
    write_report(run)
    assert "loss=a" in set(pd.read_csv(run / "report" / "diagnostics.csv")["cell"])


def test_cells_whose_names_agree_where_they_are_cut_are_not_averaged(tmp_path):
    cells = [f"loss={'a rather long name of a level ' * 2}{number}" for number in range(2)]
    outcomes = {"baseline": [0.5], **{cell: [0.6] for cell in cells}}
    long = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1)), outcomes)
    for spread, cell in enumerate(cells, 1):
        write(long, cell, [0], change=lambda epoch, layer, spread=spread: {"std": float(spread)})
    spec = activation_figures(read(long))[0].spec()
    drawn = pd.DataFrame([row for values in spec["datasets"].values() for row in values]).dropna(subset="std")
    assert sorted(drawn.groupby("cell")["std"].unique().map(list)) == [[1.0], [2.0]]
