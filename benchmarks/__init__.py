"""Claims about speed, each a ratio against a named peer that is measured in the same run."""
