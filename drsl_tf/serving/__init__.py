"""Exported models, and prediction of files with them."""
