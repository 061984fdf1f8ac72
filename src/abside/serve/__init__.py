"""The HTTP server of every process: answers, bounds, connections, and which callers are refused."""
