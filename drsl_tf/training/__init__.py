"""The training loop, its strategy, optimizers and checkpoints."""
