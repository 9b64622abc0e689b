"""Runs the test files named on the command line; what Bazel starts."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
