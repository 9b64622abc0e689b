"""Any number of devices does the same."""

import os
import subprocess
import sys

import pytest

from data_pipelines.errors import UserError
from tests.support import streets


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_several_devices_do_what_one_does(count):
    """Gradients, split batches, half precision, the teacher, and a run with labels and scores."""
    code = f"from tests.drsl_tf import replica_check; replica_check.main({count})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    print(result.stdout)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"done on {count} devices" in result.stdout


def test_batches_must_divide_over_the_devices(tmp_path):
    data = streets.make_data(streets.render_roots(tmp_path, num_source=2))
    data.check_replicas(2)
    with pytest.raises(UserError, match="AdaptationData.source_batch is 2.*4 replicas.*of 4"):
        data.check_replicas(4)
