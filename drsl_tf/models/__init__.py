"""The DRSL model, which combines networks and losses, and its inference."""
