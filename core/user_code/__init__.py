"""A user's own Python files: named by reference, imported in a world of their own, copied into the run."""
