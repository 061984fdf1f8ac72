"""The rules a document is held to: of one file alone, of an experiment on its ground, between experiments."""
