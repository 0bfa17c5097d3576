"""What a run writes of itself: the log, study.json, and what they say when they are read again."""
