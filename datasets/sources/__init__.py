"""Where the data lies on disk: one file a data set, and how folders, names and image files are read."""
