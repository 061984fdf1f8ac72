"""The fast path: plain requests answered ahead of aiohttp."""
