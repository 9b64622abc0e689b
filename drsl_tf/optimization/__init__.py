"""Gradient updates, optimizers and learning rate schedules."""
