"""The search: pure. `evolve` folds events into a state, `decide` says what happens next. No clock, no I/O, no torch."""
