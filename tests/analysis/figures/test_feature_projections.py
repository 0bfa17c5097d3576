"""Features in the plane: PCA, neighbours and t-SNE, each by a route of its own; what is kept, and what is not."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from analysis.figures.feature_scatter import colours_of, projection_figures
from analysis.figures.theme import MAXIMUM_MARKS
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.exports import write_table
from analysis.statistics import projections
from analysis.statistics.projections import MAXIMUM_POINTS, tsne
from analysis.tables.feature_projections import COLUMNS, Projections, read_features
from tests.analysis import outputs, runs

NAMES = ["cat", "dog", "eel"]
SPLITS = {"train": 60, "val": 25, "test": 40}
OUTCOMES = {"baseline": [0.5, 0.6], "loss=a": [0.8, 0.9]}
SHOWN = {"baseline": "baseline", "loss=a": "loss=a (best)"}


def blobs(seed, dimensions=8, classes=3, splits=SPLITS, apart=3.0):
    """Features around a centre a class, and their labels, by split."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, apart, (classes, dimensions))
    labels = {split: rng.integers(0, classes, count) for split, count in splits.items()}
    return {split: centres[own] + rng.normal(size=(len(own), dimensions)) for split, own in labels.items()}, labels


@pytest.fixture
def run(tmp_path):
    study = runs.study(OUTCOMES, range(2), data={"classes": NAMES})
    return runs.write_outcomes(tmp_path, study, OUTCOMES)


def table(run, cells=tuple(OUTCOMES)):
    return Projections(read_records(run), RunDirectory(run), cells).table()


def figures(run, made):
    return {figure.name: figure for figure in projection_figures(read_records(run), made, SHOWN)}


def test_pca_is_fitted_on_training_features_and_others_are_projected(run):
    values, labels = blobs(0)
    outputs.features(run, "baseline", 0, values, labels)
    made = table(run)
    assert tuple(made) == COLUMNS
    fitted = PCA(2).fit(values["train"].astype("float32").astype("float64"))
    for split in SPLITS:
        expected = fitted.transform(values[split].astype("float32").astype("float64"))
        own = made.loc[made["split"] == split, ["pca_1", "pca_2"]].to_numpy()
        for axis in (0, 1):
            sign = np.sign(expected[:, axis] @ own[:, axis])
            assert own[:, axis] == pytest.approx(sign * expected[:, axis], abs=2e-3)
    row = made.iloc[0]
    assert (row["pca_share_1"], row["pca_share_2"]) == pytest.approx(tuple(fitted.explained_variance_ratio_), rel=1e-6)
    assert made["class"].tolist() == [NAMES[label] for split in SPLITS for label in labels[split]]
    assert made["index"].tolist() == [index for count in SPLITS.values() for index in range(count)]


def test_the_neighbours_vote_as_scikit_learns_do(run):
    values, labels = blobs(1, apart=0.7)
    outputs.features(run, "baseline", 0, values, labels)
    row = table(run).iloc[0]
    near = KNeighborsClassifier(5).fit(values["train"].astype("float32"), labels["train"])
    expected = near.score(values["test"].astype("float32"), labels["test"])
    assert row["neighbours_accuracy"] == pytest.approx(expected, abs=1e-12)
    assert 0.4 < expected < 0.95
    assert row["majority_share"] == pytest.approx(np.bincount(labels["test"]).max() / 40, abs=1e-12)


def test_tsne_keeps_neighbours_together_and_is_the_same_each_time():
    values, labels = blobs(2, apart=6.0)
    every, label = np.vstack(list(values.values())), np.concatenate(list(labels.values()))
    found = tsne(every)
    distances = cdist(found, found)
    np.fill_diagonal(distances, np.inf)
    assert (label[distances.argmin(axis=1)] == label).mean() > 0.95
    assert np.array_equal(found, tsne(every))


def test_coordinates_of_unchanged_features_are_taken_over_and_changed_ones_made_anew(run, monkeypatch):
    """Two cells, first with equal features: each is a trial of its own, with its own rows."""

    def report():
        made = table(run)
        write_table(made, run / "report", "projections")
        return made

    (run / "report").mkdir()
    for cell in OUTCOMES:
        outputs.features(run, cell, 0, *blobs(3))
    made = report()
    assert made["cell"].value_counts().to_dict() == dict.fromkeys(OUTCOMES, sum(SPLITS.values()))
    calls = []
    monkeypatch.setattr(projections, "tsne", lambda value: calls.append(len(value)) or tsne(value))
    pd.testing.assert_frame_equal(made, report())
    assert calls == []
    outputs.features(run, "loss=a", 0, *blobs(4))
    changed = report()
    assert calls == [sum(SPLITS.values())]
    assert changed["cell"].tolist() == made["cell"].tolist()
    (run / "report" / "projections.parquet").write_bytes(b"torn")
    pd.testing.assert_frame_equal(changed, report())
    assert len(calls) == 3


@pytest.mark.usefixtures("undrawn")
@pytest.mark.matrix
def test_points_are_data_for_programs_and_the_manifest_knows_their_files(run):
    outputs.features(run, "baseline", 0, *blobs(5))
    write_report(run)
    assert sorted(path.name for path in (run / "report").glob("projections.*")) == [
        "projections.csv",
        "projections.parquet",
    ]
    (run / "artifacts" / runs.trial_id("baseline", 0) / "features.parquet").unlink()
    write_report(run)
    assert not list((run / "report").glob("projections.*"))
    assert not (run / "report" / "figures" / "pca.svg").exists()


@pytest.mark.matrix
def test_many_points_are_thinned_evenly_over_each_split(run):
    splits = {"train": 900, "val": 300, "test": 600}
    values, labels = blobs(6, splits=splits)
    outputs.features(run, "baseline", 0, values, labels)
    found = table(run)
    assert len(found) <= MAXIMUM_POINTS
    assert found["split"].value_counts().to_dict() == {"train": 500, "test": 333, "val": 166}
    for _, own in found.groupby("split"):
        assert own["index"].diff().dropna().isin([1, 2]).all()
    points = sum(map(len, figures(run, found)["pca"].spec()["datasets"].values()))
    assert points == 999 <= MAXIMUM_MARKS


@pytest.mark.parametrize("dimensions", [1, 2])
def test_one_or_two_features_are_enough(run, dimensions):
    outputs.features(run, "baseline", 0, *blobs(7, dimensions=dimensions))
    made = table(run)
    assert np.isfinite(made[["pca_1", "pca_2", "tsne_1", "tsne_2"]]).to_numpy().all()
    assert made["pca_share_1"].iloc[0] + made["pca_share_2"].iloc[0] == pytest.approx(1)
    assert set(figures(run, made)) == {"pca", "tsne"}


def test_features_that_are_not_finite_are_left_out_and_counted(run):
    values, labels = blobs(8)
    values["test"][3, 2] = np.nan
    values["train"][:2, 0] = np.inf
    outputs.features(run, "baseline", 0, values, labels)
    made = table(run)
    assert len(made) == sum(SPLITS.values()) - 3
    assert "3 features are not finite and left out" in figures(run, made)["pca"].caption


def test_equal_features_have_no_tsne_and_no_variance(run):
    values = {split: np.ones((count, 4)) for split, count in SPLITS.items()}
    outputs.features(run, "baseline", 0, values, blobs(9)[1])
    made = table(run)
    assert made["tsne_1"].isna().all()
    assert made["pca_share_1"].eq(0).all()
    assert set(figures(run, made)) == {"pca"}


def test_features_on_a_line_have_a_tsne():
    line = np.linspace(0, 1, 60)[:, None] * np.arange(1, 5)
    assert np.isfinite(tsne(line)).all()


def test_of_one_class_colour_is_the_split_and_nothing_is_said_of_separation(run):
    values, labels = blobs(10, classes=1)
    outputs.features(run, "baseline", 0, values, labels)
    made = table(run)
    assert made["neighbours_accuracy"].isna().all()
    figure = figures(run, made)["pca"]
    assert "colour is the split" in figure.caption
    assert "separable" not in figure.caption
    assert len(figure.spec()["concat"]) == 1


@pytest.mark.parametrize("content", [b"torn", None])
def test_missing_and_unreadable_features_are_no_error(run, content):
    if content:
        (outputs.artifacts(run, "baseline", 0) / "features.parquet").write_bytes(content)
    made = table(run)
    assert made.empty
    assert figures(run, made) == {}


def test_features_of_several_lengths_or_too_few_are_passed_over(run, tmp_path):
    path = outputs.artifacts(run, "baseline", 0) / "features.parquet"
    rows = [{"split": "train", "index": i, "label": 0, "feature": np.ones(1 + i)} for i in range(3)]
    pd.DataFrame(rows).to_parquet(path)
    assert read_features(path) is None
    few, labels = blobs(11, splits={"train": 2})
    assert read_features(outputs.features(run, "baseline", 0, few, labels)) is None


def test_the_first_seed_that_left_features_stands_for_its_cell(run):
    outputs.features(run, "baseline", 1, *blobs(12))
    assert set(table(run)["trial"]) == {runs.trial_id("baseline", 1)}
    outputs.features(run, "baseline", 0, *blobs(13))
    assert set(table(run)["trial"]) == {runs.trial_id("baseline", 0)}


def test_hundred_classes_have_hundred_colours():
    assert len(set(colours_of(100))) == 100
    assert colours_of(3) == colours_of(12)[:3]


@pytest.mark.matrix
def test_figures_are_the_same_for_the_same_features(run):
    for cell in OUTCOMES:
        outputs.features(run, cell, 0, *blobs(14))
    first, second = figures(run, table(run)), figures(run, table(run))
    assert set(first) == {"pca", "tsne"}
    assert all(first[name].svg() == second[name].svg() for name in first)
    assert "baseline · training" in first["pca"].svg()


@pytest.mark.parametrize("classes", [31, 60])
def test_a_legend_of_many_classes_names_them_all(tmp_path, classes):
    names = [f"kind {place:02d}" for place in range(classes)]
    run = runs.write_outcomes(tmp_path, runs.study(OUTCOMES, range(2), data={"classes": names}), OUTCOMES)
    made = pd.DataFrame({"class": names, "index": range(classes), "pca_1": range(classes), "pca_2": range(classes)})
    made = made.assign(cell="baseline", trial="t", split="test", left_out=0)
    made = made.reindex(columns=list(COLUMNS)).fillna({"pca_share_1": 0.5, "pca_share_2": 0.5})
    assert re.findall(r"<text[^>]*>(kind \d+)</text>", figures(run, made)["pca"].svg()) == names
