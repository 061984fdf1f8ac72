"""From the bytes of a request to rows: measured, decoded and held to bounds before anything is built."""
