"""The report's tables: functions from `Records` to a DataFrame, related ones in one file."""
