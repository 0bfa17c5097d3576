"""Statistical tests, intervals, corrections and models for the tables."""
