"""Sealed segments that wait, the files of dead/, and how both are read, recovered and brought back."""
