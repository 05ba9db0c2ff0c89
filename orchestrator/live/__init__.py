"""What a live run offers to others: SQL on its tables, its events on a bus, and an ear for commands."""
