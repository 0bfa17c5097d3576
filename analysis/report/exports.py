"""Writes each table as CSV and Parquet in full precision, as Markdown and LaTeX with four significant digits.

Markdown and LaTeX, which are for reading, stop after READABLE_ROWS. The LaTeX is for a paper: booktabs rules, a caption
that states metric, runs, test and correction, and fewer columns.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.records.columns import rows_of
from analysis.tables.formatting import EQUAL, SPLIT_TITLES, capitalised, interval, number
from analysis.tables.spec import PAPER, Column, Row, TableSpec, best_rows, spec_of
from core.files import write_atomically, write_text
from core.metrics import metric_label, split_of

SUFFIXES = (".csv", ".md", ".tex", ".parquet")
PAGE_ROWS = 40
READABLE_ROWS = 2000
TEXT_WIDTH = 80  # characters
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


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table under its name into `folder`, which is created; OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, folder, name)


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes NAME with each of `suffixes_of` into `folder`, each file atomically."""
    write_atomically(folder / f"{name}.csv", lambda path: table.to_csv(path, index=False, lineterminator="\n"))
    write_atomically(folder / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))
    spec = spec_of(name)
    if spec.is_data:
        return
    shown, left = table.head(READABLE_ROWS), len(table) - READABLE_ROWS
    more = f"{left} more rows are in {name}.csv" if left > 0 else ""
    write_text(folder / f"{name}.md", _markdown(spec, shown) + (f"\n{more}\n" if more else ""))
    write_text(folder / f"{name}.tex", _latex(spec, shown, name) + (f"% {more}\n" if more else ""))


def suffixes_of(name: str) -> tuple[str, ...]:
    return (".csv", ".parquet") if spec_of(name).is_data else SUFFIXES


def _texts(columns: Sequence[Column], table: pd.DataFrame) -> list[list[str]]:
    rows = zip(rows_of(table), best_rows(table), strict=True)
    return [[_text(column, row, best) for column in columns] for row, best in rows]


def _text(column: Column, row: Row, best: bool) -> str:
    """A value with four significant digits, an interval, or a mean ± half of its interval (the best in bold)."""
    value = row[column.key]
    if column.kind == "interval":
        return interval(value, row[column.upper])
    text = "" if value is None or pd.isna(value) else number(value) if isinstance(value, float) else str(value)
    if column.key != "mean" or not text:
        return text
    if row.get("half_width", 0.0) > EQUAL * abs(value):
        text += f" ± {row['half_width']:.{len(text.partition('.')[2])}f}"
    return f"**{text}**" if best else text


def _markdown(spec: TableSpec, table: pd.DataFrame) -> str:
    """Every column under its key, the best mean in bold."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    columns = [column for column in spec.columns_of(table) if not column.part]
    header = [column.key.replace("ci_low", "interval") for column in columns]
    rows = _texts(columns, table)
    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)]) + "\n"


def _latex(spec: TableSpec, table: pd.DataFrame, name: str) -> str:
    """A floating `table`, shrunk to the text width if wider; a `longtable` above PAGE_ROWS rows."""
    columns = [column for column in spec.shown(table, PAPER) if not _says_nothing(column, table)]
    header = [column.words() for column in columns]
    rows = _texts(columns, table)
    form = "".join("l" if column.is_text() or column.kind == "interval" else "r" for column in columns)
    caption = f"\\caption{{{_caption(spec, table)}}}\\label{{tab:{name}}}"
    head, *body = (" & ".join(map(_cell, line)) + r" \\" for line in (header, *rows))
    wide = sum(max(map(len, cells)) + 3 for cells in zip(header, *rows, strict=True)) > TEXT_WIDTH
    if len(rows) > PAGE_ROWS:
        size = r"\scriptsize\setlength{\tabcolsep}{2pt}" if wide else r"\small"
        parts = [r"% needs \usepackage{booktabs,longtable}", rf"\begingroup{size}"]
        parts += [f"\\begin{{longtable}}{{{form}}}", f"{caption} \\\\", r"\toprule", head, r"\midrule", r"\endhead"]
        parts += [*body, r"\bottomrule", r"\end{longtable}", r"\endgroup"]
        return "\n".join(parts) + "\n"
    opened, closed = (r"\resizebox{\textwidth}{!}{", "}") if wide else ("", "")
    parts = [r"% needs \usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering", r"\small", caption]
    parts += [f"{opened}\\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    parts += [rf"\end{{tabular}}{closed}", r"\end{table}"]
    return "\n".join(parts) + "\n"


def _says_nothing(column: Column, table: pd.DataFrame) -> bool:
    """Whether a paper omits the column: one number of runs in all rows (the caption states it), or no values."""
    values = table[column.key]
    if column.key in ("n", "n_pairs"):
        return len(table) > 1 and values.nunique() == 1
    return column.key != "mean" and len(table) > 0 and bool(values.isna().all())


def _cell(text: str) -> str:
    if text.startswith("**") and text.endswith("**"):
        return f"\\textbf{{{_cell(text[2:-2])}}}"
    escaped = text.replace("\n", " ").translate(ESCAPES)
    if re.fullmatch(r"\[?[-+]?\d[\d.e+-]*(, [-+]?\d[\d.e+-]*\])?", text):
        escaped = re.sub(r"(\d)e([+-])0*(\d+)", r"\1$\\cdot$10$^{\2\3}$", escaped).replace("{+", "{")
        escaped = re.sub(r"(^|\[|, )-", r"\1$-$", escaped)
    return escaped


def _caption(spec: TableSpec, table: pd.DataFrame) -> str:
    metrics = list(table["metric"].unique()) if "metric" in table else []
    family = f"{int(table['p_holm'].notna().sum())} rows" if "p_holm" in table else "all steps"
    metric = _metric(str(metrics[0])) if metrics else "The metric"
    text = spec.caption.format(metric=metric, n=_runs(table), family=family)
    return _cell(text or spec.name.replace("_", " "))


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
