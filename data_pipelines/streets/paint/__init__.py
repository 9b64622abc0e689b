"""Painting of a planned street."""
