"""What a run has written down, read back: its log, its study, one row a trial and one row an epoch."""
