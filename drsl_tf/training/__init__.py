"""Trains a model through its stages."""
