"""The rules of documents: of one file alone, of an experiment with what it refers to, between experiments."""
