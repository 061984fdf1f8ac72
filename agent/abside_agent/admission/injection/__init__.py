"""The mutating webhook: agent and sidecar for a pod that has the label, when it is created."""
