"""Outputs beside a running study: trackers, the live report, the copy at a URL."""
