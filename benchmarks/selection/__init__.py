"""Models of finished runs, scored with and without labels."""
