"""Settings that hold for every test."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two test processes share two cores: threads beyond those only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
