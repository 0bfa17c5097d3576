"""The cells of every study, a line a cell; `python -m tests.search_spaces.golden_cells` renews the file beside it."""

import json
from pathlib import Path

from search_spaces.registry import STUDIES
from search_spaces.study import AblationStudy, AnyStudy

GOLDEN = Path(__file__).with_name("golden_cells.txt")


def cells_of(study: AnyStudy) -> list[str]:
    """What a study holds: its cells with the settings that each lays over the study's baseline, or its space."""
    head = f"{study.name} [{study.workload}, {study.epochs} epochs, {study.seeds} seeds, {study.metric}]"
    lines = [head, f"  baseline: {_settings(study.baseline)}"]
    if isinstance(study, AblationStudy):
        layout = study.layout()
        lines += [f"  {cell.name}: {_settings(cell.settings)}" for cell in layout.cells]
        lines += [f"  row: {c.factor} = {c.level} against {c.baseline_level}" for c in layout.comparisons]
        lines += [f"  source: {cell}: {figure}" for cell, figure in study.references.items()]
    else:
        lines += [f"  {parameter.model_dump_json(exclude_defaults=True)}" for parameter in study.space]
    return lines


def all_cells() -> str:
    return "\n".join(line for study in STUDIES.values() for line in cells_of(study)) + "\n"


def _settings(settings: object) -> str:
    return json.dumps(settings, ensure_ascii=False)


if __name__ == "__main__":
    GOLDEN.write_text(all_cells(), encoding="utf-8")
