"""What a change of the documents does to shoppers: who moves, and in which words."""
