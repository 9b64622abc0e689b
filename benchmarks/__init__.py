"""Benchmarks of adaptation, speed and memory."""
