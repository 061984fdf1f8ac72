"""The validating webhook: a PM's error is said at `kubectl apply`, by file and line, before any pod sees it."""
