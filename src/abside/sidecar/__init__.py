"""The process beside the rec service: answers decisions, takes events, ships them."""
