"""Tables of frozen records, as golden files. Renew them, and review what changed, with

python -m tests.analysis.golden_tables
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.contents import report_tables
from analysis.tables.gained_and_lost import why_and_changed
from tests.analysis import runs

GOLDEN = Path(__file__).parent / "golden"
SEEDS = 5
# Sixty decimals of pi and e: outcomes that no generator of random numbers can change.
DIGITS = "141592653589793238462643383279502884197169399375105820974944718281828459045235360287471352662497757247093699"


def outcome(place: int) -> float:
    """Between 0 and 0.1, with four decimals."""
    return int(DIGITS[place : place + 4]) / 1e5


def one_at_a_time(root: Path) -> Path:
    cells = {"baseline": 0.70, "loss=a": 0.80, "loss=b": 0.72, "loss=c": 0.60}
    study = runs.study(cells, range(SEEDS))
    study["cells"][1]["reference"] = "81 %"
    outcomes: dict[str, list[runs.Outcome]] = {
        name: [mean + outcome(7 * place + 3 * seed) for seed in range(SEEDS)]
        for place, (name, mean) in enumerate(cells.items())
    }
    outcomes["loss=c"][2] = "diverged"
    run = runs.write_outcomes(root, study, outcomes)
    (run / "predictions").mkdir()
    for place, name in enumerate(cells):
        for seed in range(SEEDS):
            target = np.arange(60) % 2
            wrong = np.array([int(DIGITS[(5 * place + seed + i) % len(DIGITS)]) < 3 - place for i in range(60)])
            sure = np.array([0.5 + int(DIGITS[(11 * place + seed + i) % len(DIGITS)]) / 20 for i in range(60)])
            prediction = np.where(wrong, 1 - target, target)
            scores = {f"score_{c}": np.where(prediction == c, sure, 1 - sure) for c in (0, 1)}
            table = pd.DataFrame({"index": np.arange(60), "target": target, "prediction": prediction} | scores)
            table.to_parquet(run / "predictions" / f"{runs.trial_id(name, seed)}.parquet", index=False)
    return run


def factorial(root: Path) -> Path:
    study = runs.factorial({"loss": ["ce", "cb", "focal"], "sampler": ["uniform", "weighted"]}, range(SEEDS))
    outcomes = {
        cell["name"]: [0.6 + 0.02 * place + outcome(9 * place + 2 * seed) for seed in range(SEEDS)]
        for place, cell in enumerate(study["cells"])
    }
    return runs.write_outcomes(root, study, outcomes)


def ladder(root: Path) -> Path:
    names = ["0 baseline", "1 + bn", "2 + flip", "3 + crop"]
    study = runs.study(names, range(SEEDS), design="ladder")
    study["comparisons"] = [
        runs.comparison("ladder", names[rung], names[before], names[rung], names[before])
        for rung in range(4)
        for before in sorted({rung - 1, 0} - {rung, -1}, reverse=True)
    ]
    outcomes = {
        name: [0.5 + 0.05 * place + outcome(13 * place + 4 * seed) for seed in range(SEEDS)]
        for place, name in enumerate(names)
    }
    return runs.write_outcomes(root, study, outcomes)


STUDIES = {"one_at_a_time": one_at_a_time, "factorial": factorial, "ladder": ladder}


def texts() -> dict[str, str]:
    """Every table of every study as CSV with ten significant digits, which all machines agree on, by file name."""
    made = {}
    for study, write in STUDIES.items():
        with tempfile.TemporaryDirectory() as folder:
            run = write(Path(folder))
            records = read_records(run)
            tables = report_tables(records) | {"why": why_and_changed(records, RunDirectory(run))[0]}
        for name, table in tables.items():
            if len(table):
                made[f"{study}_{name}.csv"] = table.to_csv(index=False, lineterminator="\n", float_format="%.10g")
    return made


if __name__ == "__main__":
    for old in GOLDEN.glob("*.csv"):
        old.unlink()
    for name, text in texts().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
