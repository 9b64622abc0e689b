"""Heads: feature maps in, scores or embeddings out."""
