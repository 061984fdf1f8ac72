"""The spool by hand: look into its files, and bring back what lies in dead/."""
