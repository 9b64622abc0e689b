"""Keras callbacks that monitor a run."""
