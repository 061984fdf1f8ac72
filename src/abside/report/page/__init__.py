"""What is printed: one experiment as plain records, and its forms."""
