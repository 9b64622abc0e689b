"""Fixtures of the network tests."""

from __future__ import annotations

import keras
import pytest


@pytest.fixture
def precision():
    """Returns a function that sets the precision policy until the test ends."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")
