"""The names that records are written with: statuses, events, columns, files, and which way a metric is better.

Everything here is fixed by scripts that read the files; add names, rename none.
"""

from difflib import get_close_matches

FINISHED, STOPPED, DIVERGED, FAILED, RUNNING = STATUSES = ("finished", "stopped", "diverged", "failed", "running")
SESSION, START, EPOCH, END = EVENTS = ("session", "start", "epoch", "end")
SPLITS = ("train", "val", "test")

TRIAL_COLUMNS = ("trial", "cell", "seed", "status", "epochs", "selected_epoch")
TRIAL_TRAILING_COLUMNS = (
    "val_roughness",
    "val_jumps",
    "seconds",
    "node",
    "device",
    "verified",
    "error",
    "execution",
    "started_at",
    "ended_at",
)
EPOCH_COLUMNS = ("trial", "epoch", "lr", "train_loss", "val_loss", "test_loss")
CONFIG_PREFIX = "config/"

MAXIMISED = ("accuracy",)
MINIMISED = ("loss", "ce", "reference", "points", "error", "nme", "roughness", "jumps", "seconds")


def maximised(metric: str) -> bool:
    """Whether larger values of `metric` are better; ValueError for a metric of no known family."""
    for word in metric.split("_"):
        if word in MAXIMISED or word in MINIMISED:
            return word in MAXIMISED
    families = (*MAXIMISED, *MINIMISED)
    near = [match for word in metric.split("_") for match in get_close_matches(word, families, n=1)]
    hint = f"; nearest: {near[0]!r}" if near else ""
    raise ValueError(f"metric {metric!r} is of no known family: a name must contain one of {', '.join(families)}{hint}")


def counterpart(metric: str, split: str) -> str:
    """The same metric on another split: test_accuracy and "val" give val_accuracy; without a split, unchanged."""
    head, _, rest = metric.partition("_")
    return f"{split}_{rest}" if head in SPLITS and rest else metric
