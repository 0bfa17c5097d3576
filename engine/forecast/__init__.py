"""How long a plan takes, before it is run: what is timed, what earlier runs say, and how `plan` prints it."""
