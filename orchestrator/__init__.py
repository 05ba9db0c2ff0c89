"""What decides and drives: configuration, the search, devices, executors and the command line. Never imports torch."""
