"""What a change of the documents does to shoppers: sentences, and how many units move."""
