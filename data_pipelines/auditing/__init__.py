"""The check of all files before step 0."""
