"""Self-training: confidence thresholds, pseudo-labels and rounds."""
