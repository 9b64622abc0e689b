"""Modes compared with hidden classes."""
