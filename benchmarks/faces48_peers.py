"""The peers of `study --work faces48`: the grid as scripts, each written as the documentation of its library shows.

`main` takes NAME FOLDER TRIALS EPOCHS, prints the table of the trials and, last, one JSON object. All train with the
textbook's pipeline, one torch thread a trial, as many trials at a time as there are cores, and evaluate validation and
test after every epoch; none saves anything. With --memory each process decodes all files once, and trains on tensors.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import textbook
from benchmarks.study_peers import CORES

SIDE, CHANNELS, HIDDEN, BATCH = 48, (32, 64, 128, 128), 128, 64
GREY = ((0.5,), (0.5,))
SPLITS = ("train", "validation", "test")
LEVELS: dict[str, Sequence[float]] = {"lr": (0.02, 0.005), "momentum": (0.9, 0.5), "weight_decay": (0.0, 5e-4)}

Config = dict[str, Any]
Row = dict[str, Any]
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def grid(trials: int) -> list[Config]:
    """Every combination of `LEVELS` with seed 0, then with seed 1, …"""
    cells = [dict(zip(LEVELS, values, strict=True)) for values in product(*LEVELS.values())]
    return [{**cells[i % len(cells)], "seed": i // len(cells)} for i in range(trials)]


def fit(
    config: Config, folder: Path, epochs: int, memory: bool, report: Callable[[Row], None] = lambda row: None
) -> Row:
    """Trains one configuration; returns it with the best validation accuracy, and the test accuracy of that epoch.

    `report` takes, after each epoch, these two accuracies of the best epoch so far.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    train, *others = (_batches(folder, split, memory) for split in SPLITS)
    network = textbook.cnn(SIDE, 7, CHANNELS, HIDDEN, batch_norm=True, dropout=0.0, colours=1)
    settings = {key: config[key] for key in ("lr", "momentum", "weight_decay")}
    optimizer = torch.optim.SGD(network.parameters(), **settings)
    best: Row = {"val_accuracy": -1.0}
    for _ in range(epochs):
        _epoch(network, train, optimizer)
        validation, test = (_epoch(network, split) for split in others)
        row = {"val_accuracy": validation, "test_accuracy": test}
        best = max(best, row, key=lambda each: each["val_accuracy"])
        report(best)
    return {**config, **best}


def _batches(folder: Path, split: str, memory: bool) -> Batches:
    if memory:
        return lambda: _from_memory(folder, split)
    augment = [textbook.FLIP] if split == "train" else []
    loader = textbook.loader(folder / split, SIDE, GREY, BATCH if split == "train" else 256, augment, grey=True)
    return lambda: iter(loader)


def _from_memory(folder: Path, split: str) -> Iterator[tuple[Tensor, Tensor]]:
    train = split == "train"
    for images, labels in DataLoader(_decoded(folder, split), BATCH if train else 256, shuffle=train):
        if train:
            flipped = torch.rand(len(images), 1, 1, 1) < 0.5
            yield torch.where(flipped, images.flip(3), images), labels
        else:
            yield images, labels


@cache
def _decoded(folder: Path, split: str) -> TensorDataset:
    parts = list(textbook.loader(folder / split, SIDE, GREY, 256, grey=True))
    return TensorDataset(*map(torch.cat, zip(*parts, strict=True)))


def _epoch(network: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer | None = None) -> float:
    """Accuracy of one epoch; without an optimizer it evaluates."""
    network.train(optimizer is not None)
    correct = count = 0
    for images, labels in batches():
        with torch.set_grad_enabled(optimizer is not None):
            logits = network(images)
            if optimizer is not None:
                textbook.step(cross_entropy(logits, labels), optimizer)
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return correct / count


def joblib_parallel(folder: Path, trials: int, epochs: int, memory: bool) -> list[Row]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=CORES)(delayed(fit)(config, folder, epochs, memory) for config in grid(trials)))


def optuna_processes(folder: Path, trials: int, epochs: int, memory: bool) -> list[Row]:
    """The grid's trials enqueued in one journal, which a process a core works off."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as storage:
        journal = str(Path(storage) / "journal.log")
        study = _study(journal)
        for config in grid(trials):
            study.enqueue_trial(config)
        with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
            shares = [len(range(i, trials, CORES)) for i in range(CORES)]
            asked = [(journal, folder, share, epochs, memory) for share in shares]
            list(pool.map(_optimize, *zip(*asked, strict=True)))
        complete = _study(journal).get_trials(states=[optuna.trial.TrialState.COMPLETE])
        return [trial.user_attrs["row"] for trial in complete]


def _study(journal: str) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(journal))
    return optuna.create_study(study_name="grid", storage=storage, direction="maximize", load_if_exists=True)


def _optimize(journal: str, folder: Path, trials: int, epochs: int, memory: bool) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        config = {key: trial.suggest_categorical(key, levels) for key, levels in LEVELS.items()}
        config["seed"] = trial.suggest_int("seed", 0, 1000)
        row = fit(config, folder, epochs, memory)
        trial.set_user_attr("row", row)
        return float(row["val_accuracy"])

    _study(journal).optimize(objective, n_trials=trials)


def ray_tune(folder: Path, trials: int, epochs: int, memory: bool) -> list[Row]:
    import ray
    from ray import tune

    def train(config: Config) -> None:
        fit(config["trial"], folder, epochs, memory, tune.report)

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={"trial": tune.grid_search(grid(trials))},
            tune_config=tune.TuneConfig(
                metric="val_accuracy", mode="max", max_concurrent_trials=CORES, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
        # of the memory of Ray's driver: the file of a trial of under a second may not be there yet
        best = [(result.config["trial"], result.metrics) for result in results]
        return [{**config, **{name: row[name] for name in ("val_accuracy", "test_accuracy")}} for config, row in best]


PEERS: dict[str, Callable[[Path, int, int, bool], list[Row]]] = {
    "joblib": joblib_parallel,
    "optuna": optuna_processes,
    "ray": ray_tune,
}


@click.command()
@click.argument("name", type=click.Choice(list(PEERS)))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("trials", type=int)
@click.argument("epochs", type=int)
@click.option("--memory", is_flag=True)
def main(name: str, folder: Path, trials: int, epochs: int, memory: bool) -> None:
    """Run the grid by one library, and print its table."""
    rows = PEERS[name](folder, trials, epochs, memory)
    for row in sorted(rows, key=lambda row: -row["val_accuracy"]):
        click.echo("  ".join(f"{key} {value:<8.4g}" for key, value in row.items()))
    best = max(row["val_accuracy"] for row in rows)
    click.echo(json.dumps({"trials": len(rows), "epochs": len(rows) * epochs, "accuracy": best}))
