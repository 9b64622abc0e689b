"""Gin configurations: parsing, checks and records."""
