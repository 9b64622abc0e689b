"""Augmentation, and the batches of source and target."""
