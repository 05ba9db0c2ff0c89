"""What happened: genotypes, morphisms, events, the event store and the graph over it. Knows nothing of torch."""
