"""A ladder as it is climbed: a row a rung, with what it gained over the rung before and over the first."""

import pandas as pd

from analysis.schema import DIVERGED, FAILED
from analysis.store import Records
from analysis.tables import rows_of

GAINS = ("delta", "ci_low", "ci_high", "p_holm", "verdict")
BEFORE, FIRST = "before", "first"
COLUMNS = (
    *("rung", "metric", "mean", "std", "n", "n_failed", "n_diverged"),
    *(f"{name}_{over}" for over in (BEFORE, FIRST) for name in GAINS),
    "reference",
)


def ladder_table(records: Records, ablation: pd.DataFrame) -> pd.DataFrame:
    """One row a rung in the order of the study. `mean` and `std` are over all seeds that finished it; gains are the
    rows of `ablation`, the table of the primary metric, `p_holm` included, and null for the first rung."""
    metric = str(records.study["metric"])
    compared = {(row["level"], row["baseline_level"]): row for row in rows_of(ablation)}
    rungs = [cell["name"] for cell in records.study.get("cells", [])]
    rows = []
    for place, rung in enumerate(rungs):
        values = records.values(rung, metric)
        row = {
            "rung": rung,
            "metric": metric,
            "mean": values.mean(),
            "std": values.std(),
            "n": len(values),
            "n_failed": records.count(rung, FAILED),
            "n_diverged": records.count(rung, DIVERGED),
            "reference": records.cells[rung].get("reference"),
        }
        for over, other in ((BEFORE, rungs[max(0, place - 1)]), (FIRST, rungs[0])):
            gains = compared.get((rung, other), {})
            row |= {f"{name}_{over}": gains.get(name) for name in GAINS}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    texts = {"rung", "metric", "reference", *(f"verdict_{over}" for over in (BEFORE, FIRST))}
    counts = {"n", "n_failed", "n_diverged"}
    return table.astype({name: "int64" if name in counts else "str" if name in texts else "float64" for name in table})
