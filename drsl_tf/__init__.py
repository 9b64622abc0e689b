"""DRSL: adapting semantic segmentation models from a labelled source to an unlabelled target."""

__version__ = "0.1.0"
