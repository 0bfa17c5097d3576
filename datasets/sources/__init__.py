"""The sources of data on disk: one module per data set, and the reading of folders, names and image files."""
