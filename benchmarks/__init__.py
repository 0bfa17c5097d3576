"""Speed benchmarks, each a ratio of times against a named peer measured in the same run."""
