"""The DRSL model: networks and losses put together, and inference by it."""
