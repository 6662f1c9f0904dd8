"""Everything that touches aiohttp: one attempt at a request, and the two ways to carry it out."""
