"""What shows: a terminal client of events and SQL. Knows nothing of torch or the scheduler."""
