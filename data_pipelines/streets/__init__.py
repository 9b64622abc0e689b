"""A renderer of street scenes in two styles: the embedded data."""
