"""The status for people: one HTML page, drawn from what `/v1/status` says and nothing else."""
