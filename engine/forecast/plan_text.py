"""Prints a plan, or gives it as plain data: cells, what cannot be paired or settled, the forecast."""

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.records.run_directory import RunDirectory
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from core.text import shown, visible
from core.value_words import listed
from engine.execution.progress import teller
from engine.forecast.forecast import forecast, forecast_line
from engine.planning.own_code import uncopied
from engine.planning.plan import Plan
from engine.runlog.history import History
from search_spaces.study import AblationStudy, SearchStudy
from trainables.models.construction import Constructed, constructed

SHOWN_FACTORS, SHOWN_NAMES = 4, 12


def unpaired_weights(plan: Plan) -> dict[str, list[str]]:
    """By name of a network, its parameters that stay as constructed, so that cells of other networks do not share them.

    A network's constructor draws them under the trial's seed, in an order of its own.
    """
    return _by_network(plan, lambda built: built.unpaired)


def _by_network(plan: Plan, names: Callable[[Constructed], list[str]]) -> dict[str, list[str]]:
    configs = [item.config for item in plan.cells if item.runs] or [plan.baseline]
    found: dict[str, list[str]] = {}
    for config in configs:
        network = plan.factory.network(config) if config else None
        if config and network is not None and (some := names(constructed(network))):
            found[config.model.name] = list(dict.fromkeys([*found.get(config.model.name, []), *some]))
    return found


def remarks(plan: Plan) -> list[str]:
    """What the plan's trials cannot show, however they turn out."""
    said, seeds = [], plan.study.seeds
    if plan.comparisons and seeds < MINIMUM_PAIRS:
        said.append(
            f"{seeds} seed{'s' * (seeds > 1)}: no verdict can follow, each row will say `too few runs`; "
            f"{MINIMUM_PAIRS} seeds are the fewest that can settle anything (--seeds {MINIMUM_PAIRS})"
        )
    if plan.options.epochs and isinstance(plan.study, AblationStudy) and "training.epochs" in plan.study.varied:
        said.append(f"--epochs {plan.options.epochs} is for every cell, also where a level sets training.epochs")
    if plan.code:
        said.append(f"code: {listed([*plan.code], SHOWN_NAMES)}; `run` copies {'them' if len(plan.code) > 1 else 'it'}")
    said += uncopied(plan.study)
    said += plan.factory.own_remarks
    for model, names in _by_network(plan, lambda built: built.unfilled).items():
        said.append(
            f"pretrained weights of {model} do not fill {', '.join(names)}, which start at random: their shapes are "
            f"others here (a first layer's, by model.stem and the pictures' channels; an output's, by the classes)"
        )
    for model, names in unpaired_weights(plan).items():
        said.append(
            f"initial weights of {model} that its constructor set, so not paired with other networks: "
            f"{listed(names, SHOWN_NAMES, 'more (plan --json lists all)')}"
        )
    return said


def data_line(plan: Plan) -> str:
    """The baseline's data and network in a line."""
    info, config = plan.factory.data(plan.baseline).info, plan.baseline
    sizes = ", ".join(f"{sum(counts)} {name}" for name, counts in info.counts.items())
    shape = " × ".join(map(str, info.input_shape))
    return f"{info.name}: {sizes}; {len(info.classes)} classes, pictures of {shape}; {config.model.name}"


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; `study` is in the schema that a user's YAML file has."""
    finished = History.of(RunDirectory(plan.directory)).ends
    study = plan.study.model_dump(mode="json")
    if (epochs := study["baseline"].pop("training.epochs", None)) is not None:  # by `--set`
        study["epochs"] = plan.options.epochs or epochs
    return {
        "study": study,
        "directory": str(plan.directory),
        "cells": [{**item.record, "settings": item.cell.settings} for item in plan.cells],
        "trials": [
            {"trial": spec.trial, "cell": spec.cell, "seed": spec.seed, "finished": spec.trial in finished}
            for spec in plan.trials
        ],
        "unpaired_weights": unpaired_weights(plan),
        "remarks": remarks(plan),
        "forecast": vars(forecast(plan)),
    }


def describe_plan(plan: Plan, console: Console) -> None:
    """Print the plan to the console."""
    study, say = plan.study, teller(console)
    console.print(Text.assemble((visible(study.name), "bold"), f"  {visible(study.question)}"))
    if isinstance(study, SearchStudy):
        seeds = f"{study.seeds} seed{'s' * (study.seeds > 1)}"
        say(f"search by {study.sampler}: {study.configurations} configurations × {seeds}, over")
        for parameter in study.space:
            tree = parameter.model_dump(mode="json", exclude={"key", "kind"}, exclude_defaults=True)
            say(f"  {parameter.key}: {json.dumps(tree)}")
    else:
        factors = study.factors if len(study.factors) <= SHOWN_FACTORS else ()  # the names of a ladder's cells say it
        table = Table("cell", *(visible(factor.name) for factor in factors), "epochs", "trials", "remark", box=None)
        for item in plan.cells:
            remark = f"identical to {item.identical_to}" if item.identical_to else item.invalid or ""
            trials = str(study.seeds) if item.runs else "-"
            epochs = str(item.config.training.epochs) if item.config else "-"
            levels = (item.cell.levels[factor.name] for factor in factors)
            table.add_row(*(Text(shown(text)) for text in (item.cell.name, *levels, epochs, trials, remark)))
        console.print(table)
    say(data_line(plan))
    for remark in remarks(plan):
        say(remark)
    if plan.invalid and not plan.candidates:
        say(f"{len(plan.invalid)} of {len(plan.cells)} cells cannot run: `run` refuses them all without --skip-invalid")
    made = forecast(plan)
    reused = f", {made.reused} in {plan.options.reuse_from}" if made.reused else ""
    most = "at most " if plan.ahead else ""  # a path's candidates may be identical to other cells, or invalid
    say(f"{most}{made.trials} trials, {made.finished} of them finished in {plan.directory}{reused}")
    if plan.factory.known:
        say(f"{len(plan.factory.known)} trials were begun by other code; one of each version is first trained again")
    if made.trials > made.finished + made.reused:
        say(forecast_line(plan, made))
