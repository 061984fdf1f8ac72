"""What a client does while the sidecar does not answer: fallbacks, what is sent later, a line in the log."""
