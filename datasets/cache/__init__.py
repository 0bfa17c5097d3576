"""Decoded data, once per machine: the Arrow file, the digests it is named by, the rows that a trial takes of it."""
