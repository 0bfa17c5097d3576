"""Names used in the records: statuses, events and columns.

Scripts outside this program read the files, so names may be added but not changed.
"""

FINISHED, STOPPED, DIVERGED, FAILED, RUNNING = STATUSES = ("finished", "stopped", "diverged", "failed", "running")
START, EPOCH, END, PROOF, ANEW = ("start", "epoch", "end", "proof", "anew")
REMADE, REMOVED = ("remade", "removed")
SESSION, SPENT = ("session", "time_budget_spent")
EPOCH_COLUMNS = ("trial", "epoch", "lr", "train_loss", "val_loss", "test_loss")
CONFIG_PREFIX = "config/"
COSTS = ("parameters", "multiply_adds")
"""of a trial's network; those of one image"""
