"""Exported models, and the prediction of files by them."""
