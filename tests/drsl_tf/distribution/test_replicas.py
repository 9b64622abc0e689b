"""Any number of devices does the same."""

import pytest

from data_pipelines.errors import UserError
from tests.support import calls
from tests.support import streets


@pytest.mark.slow
def test_several_devices_do_what_one_does():
    """Gradients, split batches, half precision, the teacher, and a run with labels and scores."""
    code = "from tests.support.processes import replica_check; replica_check.main(4)"
    shown = calls.read_output("-c", code, timeout=None)
    print(shown)
    assert "done on 4 devices" in shown


def test_batches_must_divide_over_the_devices(tmp_path):
    data = streets.make_data(streets.render_roots(tmp_path, num_source=2))
    data.check_replicas(2)
    with pytest.raises(UserError, match="AdaptationData.source_batch is 2.*4 replicas.*of 4"):
        data.check_replicas(4)
