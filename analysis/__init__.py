"""From the records of a run to its tables, figures and page; reads files only and loads neither torch nor Ray."""
