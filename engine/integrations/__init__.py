"""What follows a run from outside: trackers, the live report, the copy at a URL."""
