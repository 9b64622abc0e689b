"""The command that scores mixed batch statistics, on a run that was never trained."""

import numpy as np
import pytest

from benchmarks import batch_statistics
from benchmarks.comparison import adaptation_runs
from benchmarks.selection import dusk
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.errors import UserError
from tests.support import run_dirs


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory):
    return run_dirs.render_target(str(tmp_path_factory.mktemp("target")), count=2, val_count=2)


def test_every_other_image_is_darkened(root):
    domain = Cityscapes(root=root)
    halves = dusk.HalfAtDusk(domain)
    (day,), (evening,) = halves.split(domain.list_pairs("val"))
    plain = domain.read_image(evening.image_path)
    np.testing.assert_array_equal(
        halves.read_image(day.image_path), domain.read_image(day.image_path)
    )
    dark = halves.read_image(evening.image_path)
    assert dark.dtype == np.uint8 and dark.mean() < plain.mean() / 2
    np.testing.assert_array_equal(
        halves.read_label(evening.label_path), domain.read_label(evening.label_path)
    )
    white = dusk.darken(np.full((1, 1, 3), 255, np.uint8))
    assert white.tolist() == [[[115, 128, 166]]]


def test_priors_are_numbers_of_images_or_infinite():
    assert batch_statistics.parse_priors(["0", "10", "inf"]) == [0.0, 10.0, float("inf")]
    for text in ("-1", "1.5", "nan", ""):
        with pytest.raises(UserError, match="--priors"):
            batch_statistics.parse_priors([text])


@pytest.mark.slow
def test_each_prior_is_measured_once(root, tmp_path):
    run_dir, model = run_dirs.make_run(str(tmp_path), root)
    run_dirs.keep_source(run_dir, model)
    path = str(tmp_path / "records.jsonl")
    infinite = float("inf")
    for _ in range(2):
        table = batch_statistics.measure_run(run_dir, [0.0, infinite], path, images=2)
        assert "| inf |" in table and "Rank correlation" in table
        assert "| part: dusk |" in batch_statistics.measure_run(
            run_dir, [0.0, 10.0, infinite], path, parts=True
        )
    records = adaptation_runs.RecordFile(path).read()
    assert [each["prior"] for each in records] == [0, "inf", 0, 10, "inf"]
    assert records[0]["miou"] != records[1]["miou"]
    # The source's statistics are the same for both parts.
    assert records[4]["all"] == records[4]["part"]
    assert records[2]["all"] != records[2]["part"]
