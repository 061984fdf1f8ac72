"""The spool by hand: look into its files, and bring files of dead/ back."""
