"""Data sets from disk as uint8 arrays with labels: split, fingerprinted, cached, shared by every trial."""
