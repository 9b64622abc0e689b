"""Losses as pure functions of tensors: each returns its sum and its count."""
