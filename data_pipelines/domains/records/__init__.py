"""Splits of any data set in TFRecord files, with an index."""

from data_pipelines.domains.records.reader import Records

__all__ = ["Records"]
