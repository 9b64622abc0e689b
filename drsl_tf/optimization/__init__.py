"""What becomes of gradients, and learning rates."""
