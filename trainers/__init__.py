"""What trains: networks, weight inheritance, data and the worker process. Knows nothing of scheduler or store."""
