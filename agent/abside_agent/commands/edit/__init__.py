"""Changes documents in place: only the bytes of a changed value change."""
