"""From a study and its options to trials with keys: what is asked, what is wrong, what is left."""
