"""What the command line itself does: options, listings, where runs lie, ways to end."""
