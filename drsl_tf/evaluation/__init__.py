"""Scores on labelled splits."""
