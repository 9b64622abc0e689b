"""Keras callbacks that show a run while it trains."""
