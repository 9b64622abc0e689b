"""Damaged files: every reader of the program gives a result or one clear error, and soon.

DRSL_TF_MUTATIONS says how many inputs a reader gets, DRSL_TF_MUTATIONS_READERS which readers, by
parts of their names with commas between them. DRSL_TF_MUTATIONS_RECORD names a JSON file to which
the outcome is added under TensorFlow's version; a table goes beside it. The full count:

    DRSL_TF_MUTATIONS=1000 DRSL_TF_MUTATIONS_RECORD=benchmarks/results/mutations.json \
        python -m pytest -m slow tests/test_mutations.py
"""

import os

import pytest

from tests.support.mutations.readers import READERS
from tests.support.mutations.record import LIMIT_SECONDS
from tests.support.mutations.record import MutationRecord

_COUNT = int(os.environ.get("DRSL_TF_MUTATIONS", "24"))
_PARTS = os.environ.get("DRSL_TF_MUTATIONS_READERS", "").split(",")


@pytest.mark.slow
def test_damaged_files_are_read_or_refused():
    names = [name for name in READERS if any(part in name for part in _PARTS)]
    record = MutationRecord(names, _COUNT)
    record.run()
    path = os.environ.get("DRSL_TF_MUTATIONS_RECORD")
    if path:
        record.write(path)
    assert not any(record.failures.values()), {k: v[:5] for k, v in record.failures.items() if v}
    for name in names:
        outcomes = record.sum_outcomes(name)
        assert outcomes["refused"] + outcomes["read"] == _COUNT
        # Damage is noticed: were it not, this test would look at nothing.
        assert outcomes["refused"] > _COUNT // 10, (name, outcomes)
        assert record.slowest[name] < LIMIT_SECONDS
