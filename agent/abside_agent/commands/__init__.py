"""The commands that read documents: each file is one of them."""
