"""The files of a run: results, checkpoints, pictures."""
