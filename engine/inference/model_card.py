"""The model card beside an exported file: the model's interface, metrics, check, data, settings and versions."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.columns import metric_columns
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED
from analysis.records.store import read_records
from core.metrics import counterpart
from core.splits import SPLITS
from core.text import markdown, shown
from engine.inference.export import DESCRIPTION, EXTRA, Check, description
from engine.inference.trained_model import Trained
from engine.runlog.study_file import program
from trainables.config import counts, flatten

TASKS = {
    "classification": "one of several classes for each picture",
    "faces": "face or not, and the landmarks of the face",
    "landmarks": "the landmarks of a face in its crop",
}


def write_card(trained: Trained, check: Check, out: Path) -> Path:
    """Write FILE.pt2.md or FILE.onnx.md beside the model."""
    card = out.with_name(f"{out.name}.md")
    card.write_text(model_card(trained, check, out), encoding="utf-8")
    return card


def model_card(trained: Trained, check: Check, out: Path) -> str:
    """The card in Markdown. All numbers are from the run's records or the check; unknown ones are marked as unknown."""
    records = read_records(trained.run.root)
    parts = [
        f"# {markdown(out.name)}",
        f"{markdown(records.study['question'])}\n" if records.study.get("question") else "",
        _interface(trained),
        "## Metrics\n\n" + _metrics(trained, records),
        "## Check\n\n" + _check(trained, check),
        "## Data\n\n" + _data(trained),
        "## Settings\n\n" + _table(("setting", "value"), _settings(trained)),
        "## Versions\n\n" + _versions(records, out),
        "## Again\n\n" + _again(trained, records),
        "## Licence\n\nNot recorded. This program does not know the terms of the data, nor of pretrained weights where "
        "the settings name any: whoever passes the model on has to clear them.",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _settings(trained: Trained) -> list[tuple[str, ...]]:
    flat = flatten(trained.config)
    return [(name, _code(value)) for name, value in flat.items() if counts(name)]


def _interface(trained: Trained) -> str:
    told = description(trained, trained.module(exact=True).outputs)
    shape = " × ".join(map(str, told["input"]["shape"]))
    rows = [
        ("task", TASKS[told["task"]]),
        ("network", trained.config.model.name),
        ("input `images`", f"{told['input']['type']}, {shape}: {told['input']['means']}"),
        *((f"output `{name}`", means) for name, means in told["outputs"].items()),
        *(
            (("classes", ", ".join(f"{i} {markdown(name)}" for i, name in enumerate(told["classes"]))),)
            if told["classes"]
            else ()
        ),
        ("precision", "float32"),
    ]
    decoding = (
        "Pictures are decoded upright (EXIF) and resized to the input's height and width without keeping their ratio, "
        f"bilinear and antialiased; `predict` does so. The file holds all of this as JSON under `{DESCRIPTION}`."
    )
    return _table(("", ""), rows) + "\n\n" + decoding


def _metrics(trained: Trained, records: Records) -> str:
    row, start = trained.metrics, trained.start
    own = records.rows(start["cell"])
    finished = own.loc[own["status"] == FINISHED]
    names = [name for name in metric_columns(records.epochs) if name.startswith("val_") and row.get(name) is not None]
    lines: list[tuple[str, ...]] = []
    for name in names:
        test = counterpart(name, "test")
        lines.append(
            (name.removeprefix("val_"), *(_figure(row.get(n)) for n in (name, test)), *_spread(finished, test))
        )
    columns = ("metric", "validation", "test", "test, mean of the cell's seeds", "standard deviation", "n")
    said = (
        f"Trial `{trained.trial}` (cell {markdown(start['cell'])}, seed {start['seed']}, {trained.status}) at epoch "
        f"{trained.epoch}, which was chosen by {_rule(trained)}."
    )
    if records.is_search:
        said += (
            f" It is one of {len(records.cells)} configurations that a search compared on the validation split, so its "
            "figures there are optimistic if it was chosen by them."
        )
    return said + "\n\n" + _table(columns, lines)


def _rule(trained: Trained) -> str:
    selection = trained.config.selection
    return {"best": f"the best `{selection.metric}`", "last": "being the last", "epoch": "its number"}[selection.rule]


def _spread(finished: pd.DataFrame, metric: str) -> tuple[str, str, str]:
    values = finished[metric].dropna().astype("float64") if metric in finished else pd.Series(dtype="float64")
    return _figure(values.mean()), _figure(values.std()), str(len(values))


def _check(trained: Trained, check: Check) -> str:
    text = (
        f"Read again and run on {check.pictures} pictures of the test split, the first alone and the others together: "
        f"the outputs differ from the model's by at most {check.absolute:.3g} ({check.relative:.3g} of the greatest "
        "output), and every predicted class is the same."
    )
    if trained.config.training.precision == "bf16":
        text += " The model's outputs are those in float32; the metrics above were measured in bfloat16."
    return text


def _data(trained: Trained) -> str:
    info = trained.info
    counts = [
        (markdown(name), *(str(info.counts[split][i]) for split in SPLITS)) for i, name in enumerate(info.classes)
    ]
    total = ("total", *(str(sum(info.counts[split])) for split in SPLITS))
    facts = f"`{info.name}`, fingerprint `{info.fingerprint}` (of pixels, labels, landmarks, splits and order)."
    return facts + "\n\n" + _table(("class", "training", "validation", "test"), [*counts, total])


def _versions(records: Records, out: Path) -> str:
    trained_with = records.study.get("versions") or {}
    here = {"python": platform.python_version()} | {
        name: _version(name) for name in ("torch", "torchvision", *(EXTRA if out.suffix == ".onnx" else ()))
    }
    git = records.study.get("git") or {}
    commit = f"Training code: commit {git.get('commit') or 'unknown'}{', changed since' if git.get('dirty') else ''}."
    rows: list[tuple[str, ...]] = [
        (name, "—" if name in EXTRA else str(trained_with.get(name, "unknown")), now) for name, now in here.items()
    ]
    return commit + "\n\n" + _table(("package", "at training", "at export"), rows)


def _again(trained: Trained, records: Records) -> str:
    command = f"{program()} rerun {trained.run.address} {trained.trial}"
    return f"```\n{shown(command)}\n```\n\nStudy {_span(records.study['name'])}, in {_span(trained.run.address)}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _figure(value: Any) -> str:
    return "—" if value is None or pd.isna(value) else f"{float(value):.4g}"


def _code(value: Any) -> str:
    return _span(json.dumps(value, ensure_ascii=False)).replace("|", "\\|")


def _span(text: str) -> str:
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{shown(text)}{ticks}"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
