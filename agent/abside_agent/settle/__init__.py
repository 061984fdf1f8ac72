"""From the documents read and the snapshot in force to the next snapshot. Pure."""
