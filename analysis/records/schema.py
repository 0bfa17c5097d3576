"""The names that records are written with: statuses, events, columns and files.

Everything here is fixed by scripts that read the files; add names, rename none.
"""

FINISHED, STOPPED, DIVERGED, FAILED, RUNNING = STATUSES = ("finished", "stopped", "diverged", "failed", "running")
SESSION, START, EPOCH, END, PROOF = EVENTS = ("session", "start", "epoch", "end", "proof")

TRIAL_COLUMNS = ("trial", "cell", "seed", "status", "epochs", "selected_epoch")
TRIAL_TRAILING_COLUMNS = (
    *("val_roughness", "val_jumps", "seconds", "node", "device", "verified", "error", "execution"),
    *("started_at", "ended_at"),
)
EPOCH_COLUMNS = ("trial", "epoch", "lr", "train_loss", "val_loss", "test_loss")
CONFIG_PREFIX = "config/"
