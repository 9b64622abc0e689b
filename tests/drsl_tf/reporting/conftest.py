"""Records of runs that never took place, and the report on them."""

import pytest

from drsl_tf.reporting import page
from tests.support.run_records import make_run


@pytest.fixture(scope="package")
def run_dirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = [make_run(folder, f"drsl_{seed}", seed=seed) for seed in range(3)]
    return [*runs, make_run(folder, "cbst", experiment="cbst & more", panels=False)]


@pytest.fixture(scope="package")
def report_path(run_dirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    page.write_report(run_dirs, str(path))
    return path
