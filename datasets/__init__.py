"""What is on disk, as uint8 tensors and labels: split, fingerprinted, cached, shared by every trial."""
