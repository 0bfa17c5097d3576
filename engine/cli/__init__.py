"""The command line: options, listings, run directories by path or URL, interrupts and exit status."""
