"""The validating webhook: `kubectl apply` shows a PM's error by file and line, before it reaches a pod."""
