"""From the bytes of a request to rows: measured, checked against bounds, and then decoded."""
