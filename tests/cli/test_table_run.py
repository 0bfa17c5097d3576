"""A table of labels with groups and splits, from its file to the page of its run."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.records.store import read_records
from core.splits import SPLITS
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.table import Table
from tests.conftest import Cli
from tests.datasets.makers import make_table
from tests.records import events

STUDY = """
name: clinic
question: Does it matter how a picture becomes a square?
workload: folder
baseline: {dataset.name: table, dataset.path: labels.csv, dataset.image_size: 8, model.channels: [4], model.hidden: 8}
design: one_at_a_time
factors:
- name: resize
  levels:
  - {name: stretch}
  - {name: pad, settings: {dataset.resize: pad}}
  - {name: crop, settings: {dataset.resize: crop}}
epochs: 2
seeds: 2
"""


@pytest.mark.matrix
@pytest.mark.usefixtures("undrawn", "local_ray")
def test_a_table_with_groups_and_splits_is_right_from_start_to_page(tmp_path: Path, cli_here: Cli) -> None:
    file = make_table(tmp_path) / "labels.csv"
    rows = list(csv.DictReader(file.open()))
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["filename", "label", "patient", "split"], delimiter=";")
        writer.writeheader()
        writer.writerows(
            {**row, "split": "test" if int(row["patient"].split()[1]) % 5 == 0 else "train"} for row in rows
        )
    (tmp_path / "study.yaml").write_text(STUDY)
    run = tmp_path / "results"
    done = cli_here("run", tmp_path / "study.yaml", "--out", run)
    assert done.returncode == 0, done.stderr

    records = read_records(run)
    assert set(records.trials["status"]) == {"finished"}
    assert records.trials["verified"].all()
    data = json.loads((run / "study.json").read_text())["data"]
    assert (data["name"], data["counts"]["test"], data["resize"]) == ("table", [6, 6, 6], "stretch")
    assert 0.1 < sum(data["counts"]["val"]) / 72 < 0.2
    given = {row["filename"]: row for row in rows}
    tested = {image for image, row in given.items() if int(row["patient"].split()[1]) % 5 == 0}
    for trial in records.trials["trial"]:
        shown = pd.read_parquet(run / "predictions" / f"{trial}.parquet")
        assert set(shown["image"]) == tested
        assert [given[image]["label"] for image in shown["image"]] == list(shown["target_name"])
    starts = [event for event in events(run) if event["event"] == "start"]
    patients = {split: set[str]() for split in SPLITS}
    settings = Table(image_size=8, path="labels.csv")
    for split, part in open_dataset(settings, prepare(settings, tmp_path).path).splits.items():
        patients[split] |= {given[path]["patient"] for path in part.paths}
    assert {event["fingerprint"] for event in starts} > {prepare(settings, tmp_path).info.fingerprint}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 30
    page = (run / "report" / "index.html").read_text()
    assert "resize" in page
    assert "pad" in page

    file.unlink()
    picture = next((tmp_path / "animals" / "cat").iterdir())
    cell = records.trials.loc[records.trials["cell"] == "resize=crop", "trial"].iloc[0]
    done = cli_here("predict", run, "--trial", cell, picture)
    assert done.returncode == 0, done.stderr
    assert picture.name in done.stdout
    done = cli_here("resume", run, "--seeds", "3")
    assert done.returncode == 2
    assert "no such table" in done.stderr
