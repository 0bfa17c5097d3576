"""The studies, one file per data set."""
