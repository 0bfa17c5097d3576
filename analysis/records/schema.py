"""The names that records are written with: statuses, events and columns.

Everything here is fixed by scripts that read the files; add names, rename none.
"""

FINISHED, STOPPED, DIVERGED, FAILED, RUNNING = STATUSES = ("finished", "stopped", "diverged", "failed", "running")
START, EPOCH, END, PROOF = ("start", "epoch", "end", "proof")
EPOCH_COLUMNS = ("trial", "epoch", "lr", "train_loss", "val_loss", "test_loss")
CONFIG_PREFIX = "config/"
