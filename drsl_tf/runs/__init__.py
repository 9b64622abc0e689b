"""What a run leaves on disk: results, checkpoints, pictures, and the reading of them."""
