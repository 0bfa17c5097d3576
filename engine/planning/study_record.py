"""A plan as study.json holds it: the request, the resolved study, versions and machine."""

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from analysis.records.run_directory import RunDirectory
from core.text import shown
from core.user_code.references import permit, use
from datasets.audit import audit
from datasets.registry import DATASETS
from engine.planning.consent import is_strangers, refuse_strangers
from engine.planning.own_code import code_record, copies, extensions, references, scripts
from engine.planning.plan import Plan, objectives
from engine.planning.run_options import Options
from engine.runlog.run_log import now
from engine.runlog.study_file import git_state
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, parse_study
from trainables.extensions import extend

PACKAGES = ("torch", "torchvision", "ray", "optuna", "pandas", "pyarrow", "pillow", "numpy")


def recorded_request(record: dict[str, Any], run: RunDirectory | None = None) -> tuple[AnyStudy, Options]:
    """(the study as requested, options that are not yet applied to it) from a study.json; the copies in `run` of the
    user's own code are in use from now on, and nothing is imported but what the record names.

    PlanError if it would execute what is not this user's (`consent`). What the record does not know of its data set is
    as it was before there was such a setting.
    """
    if run:
        refuse_strangers(run, record)
    request, data = record["request"], record["data"]
    before = getattr(DATASETS.find(data["name"]), "unrecorded", {})
    settings = {f"dataset.{name}": value for name, value in before.items() if name not in data}
    options = {**request["options"], "settings": {**settings, **request["options"]["settings"]}}
    options["folders"] = copies(run, options.get("folders", {})) if run else {}
    if is_strangers(record):
        options["cache_dir"] = None  # where it would write
    use(options["folders"])
    files = extensions(request)
    permit([*references(request, of_modules=True), *files])
    extend(files)  # before the study, whose design may be theirs
    return parse_study(request["study"], "study.json"), Options.model_validate_json(json.dumps(options))


def study_record(plan: Plan, command: list[str]) -> dict[str, Any]:
    """The record of a plan and the command that asked for it; its `request` alone suffices to plan it again."""
    request = {"study": plan.asked.model_dump(mode="json"), "options": plan.options.model_dump(mode="json")}
    study, dataset, prepared = plan.study, plan.baseline.dataset, plan.factory.data(plan.baseline)
    info, found = prepared.info, audit(prepared)
    return {
        "format": 1,
        "name": study.name,
        "question": study.question,
        "kind": study.kind,
        "design": study.design if isinstance(study, AblationStudy) else None,
        **({"traits": asdict(study.traits)} if isinstance(study, AblationStudy) else {}),
        "workload": study.workload,
        "baseline": dict(study.baseline),
        "factors": study.model_dump(mode="json").get("factors", []),
        "cells": [item.record for item in plan.cells],
        "comparisons": [vars(item) for item in plan.comparisons],
        **_path_record(plan),
        **(_search_record(study) if isinstance(study, SearchStudy) else {"space": [], "samples": None}),
        "seeds": list(study.replicates),
        "epochs": plan.baseline.training.epochs,
        "metric": study.metric,
        "further_metrics": list(study.further_metrics),
        **({"metrics": [metric.record for metric in asked]} if (asked := plan.baseline.metrics) else {}),
        "selection": plan.baseline.selection.model_dump(mode="json"),
        "trials": [
            {"trial": spec.trial, "cell": spec.cell, "seed": spec.seed, "epochs": spec.config["training"]["epochs"]}
            for spec in plan.trials
        ],
        "request": request,
        "command": [*map(shown, command)],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "git": git_state(),
        **code_record(plan.options, plan.code),
        **scripts(request),
        "data": {
            "name": info.name,
            "fingerprint": info.fingerprint,
            "classes": list(info.classes),
            "image_shape": list(info.image_shape),
            "counts": {split: list(counts) for split, counts in info.counts.items()},
            **{name: getattr(dataset, name) for name in dataset.unrecorded},
            "audit": list(found.lines),
            "leaks": list(found.leaks),
        },
        "machine": {"node": platform.node(), "cpus": os.cpu_count(), "system": platform.platform()},
        "created_at": now(),
    }


def _path_record(plan: Plan) -> dict[str, Any]:
    """A path's steps chosen so far, and the greatest number of trials of later steps."""
    study = plan.study
    if not isinstance(study, AblationStudy) or not study.is_path:
        return {}
    return {"path": list(study.steps), "trials_ahead": plan.ahead}


def _search_record(study: SearchStudy) -> dict[str, Any]:
    tree = study.model_dump(mode="json", include={"space", "samples", "sampler", "trial_scheduler"})
    return {**tree, "configurations": study.configurations, "objectives": [metric for metric, _ in objectives(study)]}
