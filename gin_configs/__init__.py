"""Configurations of experiments; a package so that an installed program finds them by name."""
