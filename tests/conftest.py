"""Settings that hold for every test."""

import os

import gin
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two test processes share two cores: threads beyond those only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


@pytest.fixture(autouse=True)
def _forget_bindings():
    yield
    gin.clear_config()
