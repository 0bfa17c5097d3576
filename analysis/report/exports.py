"""Writes each table as CSV and Parquet in full precision, as Markdown and LaTeX with four significant digits.

Text is escaped where Markdown or LaTeX would take it for markup, so that it reads as it is.

Markdown and LaTeX, which are for reading, stop after READABLE_ROWS. The LaTeX is for a paper: booktabs rules, a caption
that states metric, runs, test and correction, and fewer columns.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.records.columns import rows_of
from analysis.tables.formatting import EQUAL, SPLIT_TITLES, capitalised, interval, number
from analysis.tables.spec import PAPER, Column, Row, TableSpec, best_rows, spec_of
from core.files import write_atomically, write_text
from core.metrics import metric_label, split_of
from core.text import markdown, visible

SUFFIXES = (".csv", ".md", ".tex", ".parquet")
PAGE_ROWS = 40
READABLE_ROWS = 2000
TEXT_WIDTH = 80  # characters
ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"−": "$-$", "×": r"$\times$", "±": r"$\pm$", "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$"},
        **{"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$"},
        **{"²": "$^2$", "…": r"\ldots{}", "Δ": r"$\Delta$", "σ": r"$\sigma$", "ε": r"$\varepsilon$", "τ": r"$\tau$"},
    }
)


FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠](?!\d*\.?\d+([eE][-+]?\d+)?$)")
"""how a text begins that a spreadsheet computes; a number with a sign is none"""


def asks_for_safe_csv(study: Mapping[str, Any]) -> bool:
    """Whether the run's option --csv-safe is on."""
    return bool(((study.get("request") or {}).get("options") or {}).get("csv_safe"))


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path, csv_safe: bool = False) -> None:
    """Writes each table under its name into `folder`, which is created; OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, folder, name, csv_safe)


def write_table(table: pd.DataFrame, folder: Path, name: str, csv_safe: bool = False) -> None:
    """Writes NAME with each of `suffixes_of` into `folder`, each file atomically."""
    listed = without_formulas(table) if csv_safe else table
    write_atomically(folder / f"{name}.csv", lambda path: listed.to_csv(path, index=False, lineterminator="\n"))
    write_atomically(folder / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))
    spec = spec_of(name)
    if spec.is_data:
        return
    shown, left = table.head(READABLE_ROWS), len(table) - READABLE_ROWS
    more = f"{left} more rows are in {name}.csv" if left > 0 else ""
    write_text(folder / f"{name}.md", _markdown(spec, shown) + (f"\n{more}\n" if more else ""))
    write_text(folder / f"{name}.tex", _latex(spec, shown, name) + (f"% {more}\n" if more else ""))


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `'` before each text, of a head too, that a spreadsheet would compute; numbers stay."""

    def safe(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value

    made = table.copy()
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):
            made[name] = table[name].map(safe)
    return made.rename(columns=safe)


def suffixes_of(name: str) -> tuple[str, ...]:
    return (".csv", ".parquet") if spec_of(name).is_data else SUFFIXES


class Words(NamedTuple):
    """A cell's text, and whether it is the best mean, which stands in bold."""

    text: str
    bold: bool = False


def _texts(columns: Sequence[Column], table: pd.DataFrame) -> list[list[Words]]:
    rows = zip(rows_of(table), best_rows(table), strict=True)
    return [[_text(column, row, best) for column in columns] for row, best in rows]


def _text(column: Column, row: Row, best: bool) -> Words:
    """A value with four significant digits, an interval, or a mean ± half of its interval (the best in bold)."""
    value = row[column.key]
    if column.kind == "interval":
        return Words(interval(value, row[column.upper]))
    text = "" if value is None or pd.isna(value) else number(value) if isinstance(value, float) else str(value)
    if column.key != "mean" or not text:
        return Words(_line(text))
    if row.get("half_width", 0.0) > EQUAL * abs(value):
        text += f" ± {row['half_width']:.{len(text.partition('.')[2])}f}"
    return Words(text, best)


def _line(text: str) -> str:
    return " ".join(visible(text).split("\n"))


def _markdown(spec: TableSpec, table: pd.DataFrame) -> str:
    """Every column under its key, the best mean in bold."""

    def cell(text: str, bold: bool) -> str:
        return f"**{markdown(text)}**" if bold else markdown(text)

    def line(cells: Iterable[Words]) -> str:
        return f"| {' | '.join(cell(*words) for words in cells)} |"

    columns = [column for column in spec.columns_of(table) if not column.part]
    header = [Words(_line(column.key.replace("ci_low", "interval"))) for column in columns]
    rule = [Words("---")] * len(header)
    return "\n".join(map(line, (header, rule, *_texts(columns, table)))) + "\n"


def _latex(spec: TableSpec, table: pd.DataFrame, name: str) -> str:
    """A floating `table`, shrunk to the text width if wider; a `longtable` above PAGE_ROWS rows."""
    columns = [column for column in spec.shown(table, PAPER) if not _says_nothing(column, table)]
    header = [Words(_line(column.words())) for column in columns]
    rows = _texts(columns, table)
    form = "".join("l" if column.is_text() or column.kind == "interval" else "r" for column in columns)
    caption = f"\\caption{{{_caption(spec, table)}}}\\label{{tab:{name}}}"
    head, *body = map(_row, (header, *rows))
    wide = sum(max(len(text) for text, _ in cells) + 3 for cells in zip(header, *rows, strict=True)) > TEXT_WIDTH
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


def _row(cells: Iterable[Words]) -> str:
    """A row of LaTeX. After the end of the row before, `[` would begin a length, and `*` forbid a break of the page."""
    text = " & ".join(_cell(*words) for words in cells)
    return ("{}" if text.lstrip()[:1] in ("[", "*") else "") + text + r" \\"


def _cell(text: str, bold: bool = False) -> str:
    if bold:
        return f"\\textbf{{{_cell(text)}}}"
    escaped = re.sub(r"-(?=-)", "-{}", text.translate(ESCAPES))
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
