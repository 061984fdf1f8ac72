"""From the documents and the snapshot in force to the next snapshot. Pure."""
