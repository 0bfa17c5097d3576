"""What the records of a run say: tables, figures and a report, from its files alone."""
