"""What a person, a probe or a scraper sees of a sidecar."""
