"""Searches with a made space and made outcomes, written as the driver writes them."""

from tests.analysis import runs

LR = {"key": "optimizer.lr", "when": {}, "kind": "float", "low": 1e-4, "high": 1.0, "log": True}
MOMENTUM = {"key": "optimizer.momentum", "when": {}, "kind": "float", "low": 0.0, "high": 1.0, "log": False}
DECAY = {"key": "optimizer.weight_decay", "when": {}, "kind": "float", "low": 0.0, "high": 1.0, "log": False}
WIDTH = {"key": "model.hidden", "when": {}, "kind": "int", "low": 1.0, "high": 64.0, "log": False}
LAYERS = {"key": "model.bn_after", "when": {}, "kind": "choice", "choices": [[], ["conv1"], ["conv1", "conv2"]]}
CROP = {"key": "augmentation.crop_scale", "when": {}, "kind": "choice", "choices": [None, [0.5, 1.0], [0.08, 1.0]]}
SCHEDULE = {"key": "schedule.name", "when": {}, "kind": "choice", "choices": ["constant", "step"]}
GAMMA = {
    **{"key": "schedule.gamma", "when": {"schedule.name": ["step"]}, "kind": "float", "low": 0.1, "high": 0.9},
    "log": False,
}


def nested(point):
    """A point of dotted settings as a trial's configuration; a setting that is not in it shows its default."""
    config = {"optimizer": {"lr": 0.01}, "schedule": {"name": "constant", "gamma": 0.5}}
    for key, value in point.items():
        part, _, name = key.partition(".")
        config.setdefault(part, {})[name] = value
    return config


def trial(cell, point, accuracy, seed=0, status="finished", test=None, epochs=1, **end):
    """Events of a trial whose validation accuracy rises to `accuracy` in its last epoch, or is the list `accuracy`."""
    values = accuracy if isinstance(accuracy, list) else [accuracy - 0.01 * (epochs - e) for e in range(1, epochs + 1)]
    events = [runs.start(cell, seed, nested(point))]
    for epoch, value in enumerate(values, 1):
        tested = value - 0.05 if test is None else test
        events.append(
            runs.epoch(cell, seed, epoch, val_accuracy=value, test_accuracy=tested, val_reference=1.0 / epoch)
        )
    if status != "running":
        events.append(runs.end(cell, seed, status, **end))
    return events


def write(path, space, trials, **changes):
    """A search over `space` with these trials' events, ranked by val_accuracy; cells are proposed in their order."""
    study = runs.search(metric="test_accuracy", space=space, samples=len(trials), **changes)
    events = [event for events in trials for event in events]
    numbers: dict[str, int] = {}
    for event in events:
        if event["event"] == "start":
            event.setdefault("proposal", numbers.setdefault(event["cell"], len(numbers)))
    return runs.write(path, study, events)
