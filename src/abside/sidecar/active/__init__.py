"""The active snapshot: followed, built into plans, exchanged as one reference, and recorded in config events."""
