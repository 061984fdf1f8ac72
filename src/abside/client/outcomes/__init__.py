"""The known event types as calls with typed fields: a type checker finds a misspelt one, the sidecar refuses it."""
