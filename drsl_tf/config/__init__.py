"""Gin configuration: read, checked and recorded whole."""
