"""The splits of every data set, in their order."""

SPLITS = ("train", "val", "test")
