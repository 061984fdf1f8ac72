"""The status for people: one HTML page, drawn from `/v1/status` and nothing else."""
