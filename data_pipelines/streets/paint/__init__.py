"""The painting of a planned street."""
