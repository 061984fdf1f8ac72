"""The engines: each runs the same expressions. All that only one of them has is in its module."""
