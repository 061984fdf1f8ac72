"""`abside list`: the experiments of documents or of a running sidecar."""
