"""Reads a run's records: log.jsonl and study.json, as one row per trial and one row per trial and epoch."""
