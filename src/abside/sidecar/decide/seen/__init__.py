"""What a sample of requests, and those that are refused, show of the callers: mistakes that are made every day."""
