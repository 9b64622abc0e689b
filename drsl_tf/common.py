"""Keys of the dictionaries of batches, outputs and results of a step."""

from __future__ import annotations

from data_pipelines.labels.label_spaces import IGNORE_ID as IGNORE_ID

SOURCE = "source"
TARGET = "target"
MASKED = "masked"
IMAGE = "image"
LABEL = "label"
WEIGHT = "weight"
MODE_LABEL = "mode_label"

FEATURES = "features"
LOGITS = "logits"
EMBEDDING = "embedding"
ENCODER = "encoder"

GRADIENT_NORM = "gradient_norm"
