"""A renderer of street scenes in two styles, which stand in for real data sets."""
