"""Metrics of a whole split from its scores: those of the field, and functions of the user's."""
