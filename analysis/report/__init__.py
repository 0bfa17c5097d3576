"""The report: one page that opens offline, and every table and figure as files beside it."""
