"""The peers of `study`: the same search as scripts, each written as the documentation of its library shows.

`main` takes NAME FOLDER SAMPLES EPOCHS and prints one JSON object: finished trials, epochs trained, best validation
accuracy. All train with the textbook's pipeline, one torch thread a trial, as many trials at a time as there are cores;
none saves a checkpoint or a prediction.
"""

import json
import os
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch
from torchvision.transforms import RandomResizedCrop

from benchmarks import textbook

SIDE, CHANNELS, HIDDEN = 32, (32, 64, 128), 128
HALF = (0.5, 0.5, 0.5)
CORES = os.cpu_count() or 1
SCHEDULES = ("constant", "multistep", "cosine")
SCALES = (1.0, 0.5, 0.2)  # the least area of a random crop; 1 crops nothing

Config = dict[str, Any]
Found = dict[str, float]


def fit(config: Config, folder: Path, epochs: int, report: Callable[[float], None] = lambda accuracy: None) -> float:
    """Trains one configuration; returns its best validation accuracy. `report` gets each epoch's accuracy."""
    torch.set_num_threads(1)
    augment: list[Any] = [textbook.FLIP] if config["flip"] else []
    if config["scale"] < 1:
        augment.append(RandomResizedCrop(SIDE, (config["scale"], 1.0)))
    train = textbook.loader(folder / "train", SIDE, (HALF, HALF), config["batch_size"], augment)
    validate = textbook.loader(folder / "validation", SIDE, (HALF, HALF), 256)
    classes = len(train.dataset.classes)  # type: ignore[attr-defined]
    network = textbook.cnn(SIDE, classes, CHANNELS, HIDDEN, config["batch_norm"], config.get("rate", 0.0))
    optimizer = _optimizer(config, network)
    scheduler = _scheduler(config, optimizer, epochs)
    best = 0.0
    for _ in range(epochs):
        textbook.epoch(network, train, optimizer)
        scheduler.step()
        accuracy = textbook.epoch(network, validate)[1]
        best = max(best, accuracy)
        report(accuracy)
    return best


def _optimizer(config: Config, network: torch.nn.Module) -> torch.optim.Optimizer:
    settings = {"lr": config["lr"], "weight_decay": config["weight_decay"]}
    if config["optimizer"] == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=config["momentum"], **settings)
    return torch.optim.Adam(network.parameters(), **settings)


def _scheduler(config: Config, optimizer: torch.optim.Optimizer, epochs: int) -> torch.optim.lr_scheduler.LRScheduler:
    if config["schedule"] == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    milestones = [epochs // 2, 3 * epochs // 4] if config["schedule"] == "multistep" else []
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)


def suggest(trial: Any) -> None:
    """`folder/search`'s space in Optuna's define-by-run form."""
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0.0, 0.99)
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    trial.suggest_categorical("schedule", list(SCHEDULES))
    trial.suggest_categorical("flip", [False, True])
    trial.suggest_categorical("scale", list(SCALES))
    trial.suggest_categorical("batch_norm", [False, True])
    if trial.suggest_categorical("dropout", [False, True]):
        trial.suggest_float("rate", 0.05, 0.7)
    trial.suggest_int("batch_size", 16, 256, log=True)


def draw(rng: random.Random) -> Config:
    """One random configuration of the same space."""
    config: Config = {
        "optimizer": rng.choice(["sgd", "adam"]),
        "momentum": rng.uniform(0.0, 0.99),
        "lr": 10 ** rng.uniform(-4, -1),
        "weight_decay": 10 ** rng.uniform(-6, -2),
        "schedule": rng.choice(SCHEDULES),
        "flip": rng.random() < 0.5,
        "scale": rng.choice(SCALES),
        "batch_norm": rng.random() < 0.5,
        "batch_size": round(2 ** rng.uniform(4, 8)),
    }
    return config | ({"rate": rng.uniform(0.05, 0.7)} if rng.random() < 0.5 else {})


def ray_tune(folder: Path, samples: int, epochs: int) -> Found:
    """A function trainable, OptunaSearch and ASHA with the rungs of `--trial-scheduler asha`."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def train(config: Config) -> None:
        fit(config, folder, epochs, lambda accuracy: tune.report({"accuracy": accuracy}))

    if not ray.is_initialized():
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=samples,
                max_concurrent_trials=CORES,
                search_alg=OptunaSearch(space=suggest, metric="accuracy", mode="max"),
                scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3),
            ),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
        frame = results.get_dataframe("accuracy", "max")
        trained = sum(len(result.metrics_dataframe) for result in results)
        return {"trials": len(frame), "epochs": trained, "accuracy": float(frame["accuracy"].max())}


def optuna_processes(folder: Path, samples: int, epochs: int) -> Found:
    """One process a core, each running `study.optimize` on a shared journal until `samples` trials are complete."""
    import optuna

    with tempfile.TemporaryDirectory() as storage:
        journal = str(Path(storage) / "journal.log")
        with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
            list(pool.map(_optimize, *zip(*[(journal, folder, samples, epochs)] * CORES, strict=True)))
        complete = _study(journal).get_trials(states=[optuna.trial.TrialState.COMPLETE])
        best = max(trial.value or 0.0 for trial in complete)
        return {"trials": len(complete), "epochs": len(complete) * epochs, "accuracy": best}


def _study(journal: str) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(journal))
    return optuna.create_study(study_name="peer", storage=storage, direction="maximize", load_if_exists=True)


def _optimize(journal: str, folder: Path, samples: int, epochs: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        suggest(trial)
        return fit(trial.params, folder, epochs)

    complete = (optuna.trial.TrialState.COMPLETE,)
    _study(journal).optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(samples, states=complete)])


def joblib_parallel(folder: Path, samples: int, epochs: int) -> Found:
    """Random configurations by joblib."""
    from joblib import Parallel, delayed

    rng = random.Random(0)
    best = Parallel(n_jobs=CORES)(delayed(fit)(draw(rng), folder, epochs) for _ in range(samples))
    return {"trials": len(best), "epochs": len(best) * epochs, "accuracy": max(best)}


PEERS: dict[str, Callable[[Path, int, int], Found]] = {
    "ray": ray_tune,
    "optuna": optuna_processes,
    "joblib": joblib_parallel,
}


@click.command()
@click.argument("name", type=click.Choice(list(PEERS)))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("samples", type=int)
@click.argument("epochs", type=int)
def main(name: str, folder: Path, samples: int, epochs: int) -> None:
    """Run one peer's search."""
    click.echo(json.dumps(PEERS[name](folder, samples, epochs)))
