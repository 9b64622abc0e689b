"""The command that measures choices without labels, on a run that was never trained."""

import pytest

from benchmarks import label_free
from benchmarks.comparison import adaptation_runs
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.runs.results_file import ResultsFile
from tests.support import run_dirs


@pytest.mark.slow
def test_each_candidate_is_scored_once_with_and_without_labels(tmp_path):
    root = run_dirs.render_target(str(tmp_path), count=2, val_count=1)
    run_dir, model = run_dirs.make_run(str(tmp_path), root)
    run_dirs.keep_source(run_dir, model)
    names = [str(index) for index in range(19)]
    results = ResultsFile(run_dir, experiment="test", seed=0, class_names=names)
    results.record_stage(0, ConfusionMatrix.from_matrix([[1] * 20] * 19), None, 1.0)
    path = str(tmp_path / "label_free.jsonl")
    for _ in range(2):
        assert "| agreement_and_certainty |" in label_free.compare_runs([run_dir], path, images=2)
    records = adaptation_runs.RecordFile(path).read()
    assert [each["checkpoint"] for each in records] == ["source", "source_statistics"]
    assert records[0]["miou"] != records[1]["miou"]
    assert records[0]["label_free"] != records[1]["label_free"]
    assert set(records[0]["stability"]["source"].values()) <= {1.0, None}
