"""Where batches go: one contract, several transports; no disk."""
