"""Runs side by side, in a picture and in a table of classes."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines.errors import UserError
from drsl_tf import files
from drsl_tf.reporting import page
from drsl_tf.reporting import side_by_side
from drsl_tf.reporting import tables
from drsl_tf.reporting.groups import group_runs
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import panel_files
from tests.support.run_records import NAMES
from tests.support.run_records import ROUNDS
from tests.support.run_records import make_run


@pytest.fixture
def runs(tmp_path):
    return [
        RunRecord(make_run(tmp_path, "one", experiment="one", seed=1)),
        RunRecord(make_run(tmp_path, "other", experiment="other", seed=2)),
        RunRecord(make_run(tmp_path, "again", experiment="other", seed=3)),
    ]


def test_the_source_stage_is_the_first_experiments(runs):
    columns = side_by_side.list_columns(group_runs(runs))
    last = f"round {ROUNDS}"
    assert [c.title for c in columns] == ["one, source only", f"one, {last}", f"other, {last}"]
    assert [c.round for c in columns] == [0, ROUNDS, ROUNDS]
    assert [c.group.experiment for c in columns] == ["one", "one", "other"]


def test_the_table_has_every_class_and_the_mean(runs):
    table = tables.tabulate_classes(side_by_side.list_columns(group_runs(runs)))
    assert [row.cells[0] for row in table.rows] == [*NAMES, "mean"]
    by_class = {row.cells[0]: row.cells[1:] for row in table.rows}
    assert by_class["train"] == ["–", "–", "–"]
    assert by_class["road"][0] == f"{runs[0].stages[0].iou['road']:.1f}"
    scores = [run.stages[ROUNDS].miou for run in runs[1:]]
    expected = f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}"
    assert by_class["mean"][2] == expected
    lines = tables.format_text(table).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].startswith("mean ") and lines[-1].endswith(expected)


def test_the_picture_shows_every_frame_by_every_stage(runs, tmp_path):
    pictures = {}
    for index, (run, stage) in enumerate([(runs[0], 0), (runs[0], ROUNDS), (runs[1], ROUNDS)]):
        path = panel_files.locate_panel(run.run_dir, "prediction", 1, stage)
        color = (40 * index, 200, 250 - 40 * index)
        Image.new("RGB", (8, 4), color).save(path)
        pictures[color] = path
    output = tmp_path / "new" / "comparison.png"
    text = page.write_report(
        [run.run_dir for run in runs], str(tmp_path / "report.html"), str(output)
    )
    assert "mean" in text
    with Image.open(output) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for color in pictures:
        assert (np.abs(pixels.astype(int) - color).max(axis=1) <= 2).sum() > 1000
    figure = side_by_side.draw_columns(side_by_side.list_columns(group_runs(runs)))
    titles = [axes.get_title(loc="left") for axes in figure.axes[:5]]
    assert titles[:2] == ["image", "truth"]


def test_what_cannot_be_compared_is_named(runs, tmp_path):
    bare = RunRecord(make_run(tmp_path, "bare", experiment="bare", panels=False))
    with pytest.raises(UserError, match="The run bare holds pictures of other frames"):
        side_by_side.draw_columns(side_by_side.list_columns(group_runs([runs[0], bare])))
    with pytest.raises(UserError, match="The run bare holds no pictures.*figure_images above 0"):
        side_by_side.draw_columns(side_by_side.list_columns(group_runs([bare])))
    painted = RunRecord(make_run(tmp_path, "painted", experiment="painted"))
    palette = painted.panels.palette[::-1]
    painted.panels = painted.panels.model_copy(update={"palette": palette})
    with pytest.raises(UserError, match="The run painted has other classes or colours than one"):
        side_by_side.draw_columns(side_by_side.list_columns(group_runs([runs[0], painted])))
    written = page.format_report([runs[0], painted])
    assert written.count("<b>Classes</b>") == written.count("<b>Mode map</b>") == 2
    assert written.count("<b>Confidence</b>") == 1
    path = panel_files.locate_panel(runs[0].run_dir, "prediction", 0, 0)
    files.write_text(path, "no picture")
    with pytest.raises(UserError, match="0_prediction.png of a run cannot be read"):
        side_by_side.draw_columns(side_by_side.list_columns(group_runs(runs[:1])))
