"""The start of modes from data."""
