"""The cache of decoded data, one a machine: the Arrow file, digests of the sources, the rows that a trial uses."""
