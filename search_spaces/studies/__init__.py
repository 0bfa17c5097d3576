"""The studies, one file a data set."""
