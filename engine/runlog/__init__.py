"""A run's log.jsonl and study.json: writing, reading, locking."""
