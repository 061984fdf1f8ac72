"""Sealed segments that wait, what lies in dead/, and how both are read, recovered and brought back."""
