"""Ratios of speed and the processes that measure them."""
