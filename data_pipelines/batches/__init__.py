"""Augmentation, and the streams of batches of source and target."""
