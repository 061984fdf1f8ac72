"""The document a PM writes: from bytes to records, every mistake with its place."""
