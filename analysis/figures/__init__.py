"""The report's figures and galleries: functions that return a `Figure` or `Gallery`."""
