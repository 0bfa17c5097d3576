"""Each table as CSV and Parquet in full precision, as Markdown and LaTeX with four significant digits.

Markdown and LaTeX, which are for eyes, stop after READABLE_ROWS. The LaTeX is for a paper: booktabs rules, a caption
that states metric, runs, test and correction, and fewer columns.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.tables.formatting import SPLIT_TITLES, capitalised, interval, number
from core.files import write_atomically, write_text
from core.metrics import metric_label, split_of

SUFFIXES = (".csv", ".md", ".tex", ".parquet")
DATA = {"projections"}  # tables of points: for programs, without Markdown and LaTeX
PAGE_ROWS = 40
READABLE_ROWS = 2000
TEXT_WIDTH = 80  # characters
LOW, HIGH = "ci_low", "ci_high"
# Beside a corrected p-value the others are detail; what they are stands in the CSV.
DETAIL = {"p_smallest", "seeds_needed", "equivalent_within", "effect_size", "min", "max", "trials"}
CORRECTED = {"p_value", "p_permutation", "val_std", "test_std"}
HEADS = {
    "n_pairs": "n",
    "interval": "95 % interval",
    "p_holm": "p (Holm)",
    "delta": "difference",
    "reference": "source's figure",
}
ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"−": "$-$", "×": r"$\times$", "±": r"$\pm$", "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$"},
        **{"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$"},
        **{"²": "$^2$", "…": r"\ldots{}", "Δ": r"$\Delta$", "σ": r"$\sigma$", "ε": r"$\varepsilon$", "τ": r"$\tau$"},
    }
)
PAIRED = (
    "differences are paired by seed ({n}), intervals are 95 % paired t intervals, p is the two-sided paired t-test's "
    "after Holm's correction over {family}"
)
CAPTIONS = {
    "ablation": f"{{metric}} of each level against its baseline: {PAIRED}.",
    "effects": f"{{metric}}, main effects: levels averaged over the other factors within each seed; {PAIRED}.",
    "ladder": f"{{metric}} of each rung, with its gain over the rung before and over the first: {PAIRED}.",
    "path": "{metric}: what each factor that was left changes at a step, against the step before; paired by seed "
    "({n}), 95 % t intervals, not corrected. The factor that most seeds finished was chosen, of equals the one with "
    "the best mean in validation, by the seeds and epochs of the time of choosing.",
    "factor": "{metric} by level: mean with half of its 95 % t interval over seeds ({n}); the best mean is bold. The "
    "p-value is the two-sided paired t-test's against the baseline after Holm's correction over all comparisons.",
    "interactions": "{metric}: how far two levels together differ from the sum of their separate effects, paired by "
    "seed ({n}); 95 % paired t intervals, two-sided paired t-test, not corrected.",
    "anova": "{metric}: analysis of variance of type II with the seed as a block ({n}); F tests, not corrected.",
    "ranking": "{metric} of each cell: mean over seeds ({n}) with its 95 % t interval; the best mean is bold.",
    "why": "What changes from baseline to level on the test examples, means over pairs of equal seeds ({n}); McNemar's "
    "exact test of each seed, the median p-value, not corrected.",
    "why_points": "How the error of each test example's landmarks changes from baseline to level, means over pairs of "
    "equal seeds ({n}).",
    "changed": "Test examples that turn right (gained) or wrong (lost) from baseline to level in more seeds than the "
    "other way round; at most 50 of each comparison, either way.",
    "diagnostics": "Activations, gradients and weights by layer in the last epoch, mean over seeds ({n}).",
    "curves": "Mean over seeds ({n}) by epoch, with its 95 % t interval.",
    "stability": "Steadiness of the validation curve: mean size of its steps in log and number of rises by "
    "more than half, over seeds ({n}), with 95 % t intervals.",
    "per_class": "Test accuracy by class, mean over seeds ({n}).",
    "confusion": "Test examples by true and predicted class, summed over seeds.",
    "importance": "{metric}: what each setting matters, by fANOVA (of what settings explain of the "
    "variance by themselves, the share of this one; what they explain only together is not in it) and PED-ANOVA (for "
    "coming among the best); either sums to 1 over the settings; n configurations have the setting.",
    "marginals": "{metric} that a random forest predicts with one setting changed, averaged over the better half of "
    "the configurations; standard deviation over its trees; n configurations are nearest to the value.",
    "rungs": "{metric} at the rungs of the trial scheduler (the best value), and the trials that reached each rung, "
    "were stopped there and went on.",
    "top": "{metric} of the best configurations, which were chosen by it and are flattered by that, beside their test "
    "figures, which chose nothing.",
    "pareto": "Cells that no other cell dominates; means over seeds ({n}).",
    "compare": "{metric} of each cell in run A and run B, B minus A: paired or Welch's t-test as stated, 95 % "
    "intervals, Holm's correction over the rows.",
    "compare_ablation": "The ablations of run A and run B side by side.",
    "compare_differences": "What differs between run A and run B.",
}


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Each table by its name into `folder`, which is made; OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, folder, name)


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write NAME with each of `suffixes_of` into `folder`, each in one step."""
    write_atomically(folder / f"{name}.csv", lambda path: table.to_csv(path, index=False, lineterminator="\n"))
    write_atomically(folder / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))
    if name in DATA:
        return
    shown, left = table.head(READABLE_ROWS), len(table) - READABLE_ROWS
    more = f"{left} more rows are in {name}.csv" if left > 0 else ""
    write_text(folder / f"{name}.md", _markdown(shown) + (f"\n{more}\n" if more else ""))
    write_text(folder / f"{name}.tex", _latex(shown, name) + (f"% {more}\n" if more else ""))


def suffixes_of(name: str) -> tuple[str, ...]:
    return (".csv", ".parquet") if name in DATA else SUFFIXES


def _readable(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and cells as text: an interval in one column, as is a mean with its half-width; the best mean between two
    asterisks."""
    names = [str(name) for name in table if not _joined(str(name))]
    header = [name.replace(LOW, "interval") if name.startswith(LOW) else name for name in names]
    rows = []
    for record in rows_of(table):
        row = []
        for name in names:
            if name.startswith(LOW):
                row.append(interval(record[name], record[name.replace(LOW, HIGH)]))
            else:
                row.append(_text(record[name]))
        if record.get("half_width") is not None and pd.notna(record["half_width"]):
            mean = row[header.index("mean")]
            row[header.index("mean")] = f"{mean} ± {record['half_width']:.{len(mean.partition('.')[2])}f}"
        if "mean" in header and (record.get("rank") == 1 or record.get("best") is True):
            best = header.index("mean")
            row[best] = f"**{row[best]}**" if row[best] else ""
        rows.append(row)
    return header, rows


def _joined(name: str) -> bool:
    """Whether a column is shown as a part of another one."""
    return name.startswith(HIGH) or name in ("half_width", "best", "is_baseline")


def _text(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return number(value) if isinstance(value, float) else str(value)


def _markdown(table: pd.DataFrame) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    header, rows = _readable(table)
    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)]) + "\n"


def _latex(table: pd.DataFrame, name: str) -> str:
    """A `table` that floats, shrunk to the width of the text where it is wider; of many rows a `longtable`."""
    shown = table.drop(columns=[str(column) for column in table if _left_out(table, str(column))])
    header, rows = _readable(shown)
    columns = "".join(_aligned(shown, str(column)) for column in shown if not _joined(str(column)))
    caption = f"\\caption{{{_caption(table, name)}}}\\label{{tab:{name}}}"
    head, *body = (" & ".join(line) + r" \\" for line in (map(_head, header), *(map(_cell, row) for row in rows)))
    wide = sum(max(map(len, cells)) + 3 for cells in zip(header, *rows, strict=True)) > TEXT_WIDTH
    if len(rows) > PAGE_ROWS:
        size = r"\scriptsize\setlength{\tabcolsep}{2pt}" if wide else r"\small"
        parts = [r"% needs \usepackage{booktabs,longtable}", rf"\begingroup{size}"]
        parts += [f"\\begin{{longtable}}{{{columns}}}", f"{caption} \\\\", r"\toprule", head, r"\midrule", r"\endhead"]
        parts += [*body, r"\bottomrule", r"\end{longtable}", r"\endgroup"]
        return "\n".join(parts) + "\n"
    opened, closed = (r"\resizebox{\textwidth}{!}{", "}") if wide else ("", "")
    parts = [r"% needs \usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering", r"\small", caption]
    parts += [f"{opened}\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    parts += [rf"\end{{tabular}}{closed}", r"\end{table}"]
    return "\n".join(parts) + "\n"


def _left_out(table: pd.DataFrame, column: str) -> bool:
    """What a paper's table does without: what its caption says, detail, columns of nothing."""
    values = table[column]
    if column in ("metric", "n", "n_pairs"):
        return len(table) > 1 and values.nunique() == 1
    if column in ("n_failed", "n_diverged", "n_stopped"):
        return not values.sum()
    corrected = any(str(name).startswith("p_holm") for name in table)
    if column in DETAIL or (column in CORRECTED and (corrected or "rank" in table)):
        return True
    return column != "mean" and len(table) > 0 and bool(values.isna().all())


def _aligned(table: pd.DataFrame, column: str) -> str:
    return "r" if pd.api.types.is_numeric_dtype(table[column]) and not column.startswith(LOW) else "l"


def _head(column: str) -> str:
    for name, words in HEADS.items():
        if column == name or column.startswith(f"{name}_"):
            column = words + column.removeprefix(name)
    return _cell(column.replace("_", " "))


def _cell(text: str) -> str:
    if text.startswith("**") and text.endswith("**"):
        return f"\\textbf{{{_cell(text[2:-2])}}}"
    escaped = text.replace("\n", " ").translate(ESCAPES)
    if re.fullmatch(r"\[?[-+]?\d[\d.e+-]*(, [-+]?\d[\d.e+-]*\])?", text):
        escaped = re.sub(r"(\d)e([+-])0*(\d+)", r"\1$\\cdot$10$^{\2\3}$", escaped).replace("{+", "{")
        escaped = re.sub(r"(^|\[|, )-", r"\1$-$", escaped)
    return escaped


def _caption(table: pd.DataFrame, name: str) -> str:
    kind = next((known for known in sorted(CAPTIONS, key=len, reverse=True) if name.startswith(known)), None)
    if kind is None:
        return _cell(name.replace("_", " "))
    kind = "why_points" if kind == "why" and "share_better" in table else kind
    metrics = list(table["metric"].unique()) if "metric" in table else []
    family = f"{int(table['p_holm'].notna().sum())} rows" if "p_holm" in table else "all steps"
    text = CAPTIONS[kind].format(
        metric=_metric(str(metrics[0])) if metrics else "The metric", n=_runs(table), family=family
    )
    return _cell(text)


def _metric(metric: str) -> str:
    split, _ = split_of(metric)
    return capitalised(f"{SPLIT_TITLES[split]} {metric_label(metric)}" if split else metric_label(metric))


def _runs(table: pd.DataFrame) -> str:
    counts = next((table[name] for name in ("n_pairs", "n") if name in table), pd.Series(dtype="int64"))
    known = sorted({int(value) for value in counts.dropna()})
    if not known:
        return "no seed"
    several = f"{known[0]} to {known[-1]} seeds" if len(known) > 1 else f"{known[0]} seeds"
    return "1 seed" if known == [1] else several
