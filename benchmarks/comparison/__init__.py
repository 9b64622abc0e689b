"""Training methods, their runs, and the comparison of their scores."""
