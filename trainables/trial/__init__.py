"""One trial from its specification to its files: epochs, checkpoints, outputs."""
