"""Wrong flags, missing files and contradictions: one paragraph, no traceback, exit code 2."""

import os
import shutil

import pytest
from PIL import Image

from data_pipelines import cli
from drsl_tf.experiments import exporting
from tests.support import run_dirs
from tests.support import run_records
from tests.support import streets
from tests.support.processes import command_driver

_MODULES = ("inspect", "train", "evaluate", "predict", "export", "report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, its model, a record and odd things, in one folder."""
    folder = tmp_path_factory.mktemp("commands")
    root = run_dirs.render_target(str(folder), val_count=1)
    run_dirs.make_run(folder, root)
    exporting.export_run(str(folder / "run"), str(folder / "model"))
    run_records.make_run(folder, "record")
    (folder / "photos").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "photos" / "a.png")
    (folder / "file").write_text("nothing")
    (folder / "binary.gin").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "loop.gin").write_text('include "loop.gin"\n')
    (folder / "deep.gin").write_text("SOURCE_STEPS = " + "[" * 5000)
    lines = [
        'include "demo.gin"',
        *streets.list_demo_bindings(folder / "streets"),
        'SOURCE_STEPS = "many"',
    ]
    (folder / "types.gin").write_text("\n".join(lines) + "\n")
    (folder / "empty").mkdir()
    config = (folder / "run" / "config.gin").read_bytes()
    for name, path, data in (
        ("spoilt_config", "config.gin", b"\xff\x00"),
        ("spoilt_results", "results.json", b'{"versions": 3}'),
        ("torn_results", "results.json", b'{"versions": '),
        ("typed_config", "config.gin", config.replace(b"width = 8", b"width = 'wide'")),
    ):
        shutil.copytree(folder / "run", folder / name)
        (folder / name / path).write_bytes(data)
    for name, victim in (("spoilt_weights", "data"), ("spoilt_index", "index")):
        shutil.copytree(folder / "run", folder / name)
        checkpoints = folder / name / "checkpoints"
        for path in checkpoints.iterdir():
            if victim in path.name:
                path.write_bytes(path.read_bytes()[:40])
    shutil.copytree(folder / "model", folder / "spoilt_model")
    graph = folder / "spoilt_model" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-1])
    shutil.copytree(folder / "model", folder / "lost_model")
    os.remove(folder / "lost_model" / "saved_model.pb")
    return folder


_EVALUATE = ["--model=model", "--gin_file=run/config.gin", "--output=scores"]
_PREDICT = ["--model=model", "--input=photos", "--output=out"]

# Arguments of each command, and words of its one paragraph.
_CALLS = {
    "inspect": [
        ([], "Name a configuration"),
        (["none.gin"], "does not exist"),
        (["demo.gin", "--count=0"], "--count"),
        (["demo.gin", "--gin_param=nonsense"], "not valid gin"),
    ],
    "train": [
        ([], "--gin_file is missing"),
        (["--gin_fil=x"], "Unknown command line flag"),
        (["--gin_file=none.gin"], "does not exist"),
        (["--gin_file=empty"], "does not exist"),
        (["--gin_file=binary.gin"], "cannot be read"),
        (["--gin_file=loop.gin"], "form a circle"),
        (["--gin_file=deep.gin"], "not valid gin"),
        (["--gin_file=none.gin"], "demo.gin"),
        (["--gin_file=types.gin", "--run_dir=typed"], "source_steps is 'many'"),
        (["--gin_file=types.gin", "--gin_param=SOURCE_STEPS = -1", "--run_dir=typed"],
          "source_steps is -1"),
        (["--gin_file=demo.gin", "--gin_param=nonsense"], "not valid gin"),
        (["--gin_file=demo.gin", "--gin_param=SOURCE_STEP = 3"], "did you mean 'SOURCE_STEPS'"),
        (["--gin_file=demo.gin", "--fresh=perhaps"], "perhaps"),
        (["--gin_file=demo.gin", "--run_dir=file"], "cannot be written"),
        (["--gin_file=demo.gin", "--run_dir=file/run"], "cannot be written"),
        (["--gin_file=demo.gin", "extra"], "Unexpected argument"),
        (["--gin_file="], "does not exist"),
    ],
    "evaluate": [
        ([], "Give one of --run_dir, --model and --predictions"),
        (["--run_dir=run", "--model=model"], "Give one of"),
        (["--model=model"], "--gin_file is missing"),
        (["--model=model", "--gin_file=run/config.gin"], "--output is missing"),
        (["--run_dir=none"], "no run directory"),
        (["--run_dir=file"], "no run directory"),
        (["--run_dir=run", "--checkpoint=../../file"], "holds no checkpoint"),
        (["--run_dir=run", "--scales=big"], "must be numbers"),
        (["--run_dir=run", "--scales=nan"], "--scales"),
        (["--run_dir=run", "--scales=0"], "--scales"),
        (["--run_dir=run", "--window=0x0"], "neither HEIGHTxWIDTH"),
        (["--run_dir=run", "--stride=3x3"], "--stride goes with --window"),
        (["--run_dir=run", "--batch_size=-2"], "--batch_size"),
        (["--run_dir=run", "--batch_size=two"], "--batch_size"),
        (["--run_dir=run", "--split=../val"], "no split"),
        ([*_EVALUATE, "--checkpoint=best"], "--checkpoint has no effect with --model"),
        (["--predictions=photos", *_EVALUATE[1:], "--flip"], "--flip has no effect with --pred"),
        (["--run_dir=spoilt_config"], "cannot be read"),
        (["--run_dir=torn_results"], "results.json is invalid"),
        (["--run_dir=typed_config"], "tiny_base a value that it cannot take"),
        ([*_EVALUATE, "--gin_param=cityscapes.Cityscapes.max_pixels = 'few'"],
          "Cityscapes a value that it cannot take"),
        (["--run_dir=spoilt_weights"], "None of the checkpoints"),
        (["--run_dir=spoilt_weights", "--checkpoint=ckpt-1"], "cannot be read"),
        (["--run_dir=spoilt_index"], "None of the checkpoints"),
        ([*_EVALUATE, "--model=file"], "no exported model"),
        ([*_EVALUATE, "--model=spoilt_model"], "damaged"),
        ([*_EVALUATE, "--output=file"], "cannot be written"),
        (["--predictions=none", *_EVALUATE[1:]], "no prediction for"),
    ],
    "predict": [
        ([], "--model is missing"),
        (["--model=model"], "--input is missing"),
        ([*_PREDICT, "--model=none"], "no exported model"),
        ([*_PREDICT, "--model=none.tflite"], "no exported model"),
        ([*_PREDICT, "--model=spoilt_model"], "damaged"),
        ([*_PREDICT, "--model=lost_model"], "damaged"),
        ([*_PREDICT, "--input=none"], "leads to no image"),
        ([*_PREDICT, "--input=**/../../*/photos/*.png"], "no image|outside of --output"),
        ([*_PREDICT, "--output=file"], "cannot be written"),
        ([*_PREDICT, "--what="], "--what"),
        ([*_PREDICT, "--what=ids,ids,pictures"], "--what"),
        ([*_PREDICT, "--format=gif"], "should be one of"),
        ([*_PREDICT, "--format=cityscapes"], "aachen_000000_000019"),
        ([*_PREDICT, "--batch_size=0"], "--batch_size"),
        ([*_PREDICT, "--tile=1024"], "neither HEIGHTxWIDTH"),
        ([*_PREDICT, "--tile=64x64", "--overlap=64"], "--overlap"),
        ([*_PREDICT, "--max_pixels=0"], "--max_pixels"),
        ([*_PREDICT, "--max_pixels=many"], "--max_pixels"),
    ],
    "export": [
        ([], "--run_dir is missing"),
        (["--run_dir=run"], "--output is missing"),
        (["--run_dir=none", "--output=new"], "no run directory"),
        (["--run_dir=run", "--output=file"], "exists already"),
        (["--run_dir=run", "--output=file/new"], "cannot be written"),
        (["--run_dir=run", "--output=new.tflite"], "does not fit --format"),
        (["--run_dir=run", "--output=new", "--format=tflite"], "does not fit --format"),
        (["--run_dir=run", "--output=new", "--format=onnx"], "does not fit --format"),
        (["--run_dir=run", "--output=new", "--format=torch"], "should be one of"),
        (["--run_dir=run", "--output=new", "--size=0x4"], "neither HEIGHTxWIDTH"),
        (["--run_dir=run", "--output=new", "--size=big"], "neither HEIGHTxWIDTH"),
        (["--run_dir=run", "--output=new", "--checkpoint=ckpt-99"], "holds no checkpoint"),
        (["--run_dir=run", "--output=n.tflite", "--format=tflite",
          "--precision=mixed_float16"], "float32"),
        (["--run_dir=spoilt_weights", "--output=new"], "None of the checkpoints"),
        (["--run_dir=typed_config", "--output=new"], "tiny_base a value that it cannot take"),
    ],
    "report": [
        ([], "Name one run directory"),
        (["none"], "no results.json"),
        (["file"], "no results.json"),
        (["record", "--output=photos"], "cannot be written"),
        (["record", "--output=file/report.html"], "cannot be written"),
        (["record", "--output="], "--output is missing"),
        (["spoilt_results"], "schema"),
        (["torn_results"], "results.json is invalid"),
        (["record", "--colour=red"], "Unknown command line flag"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", _MODULES)
def test_what_cannot_be_done_is_said_in_one_paragraph(name, folder):
    calls = [arguments for arguments, _ in _CALLS[name]]
    before = sorted(os.listdir(folder))
    results = command_driver.call_command(f"drsl_tf.{name}", calls, folder)
    wrong = []
    for (_, words), result in zip(_CALLS[name], results, strict=True):
        code, out, err = result.returncode, result.stdout, result.stderr
        error = err[err.rindex("error: ") :] if "error: " in err else ""
        said = any(word in error for word in words.split("|"))
        one = "\n\n" not in error.strip() and "Traceback" not in err and not out
        if code != cli.EXIT_BAD_INPUT or not said or not one:
            wrong.append((result.args, code, out[-300:], err[-900:]))
    assert not wrong, "\n".join(map(repr, wrong))
    # Nothing is left behind, but for the records of runs that began.
    made = {name for name in os.listdir(folder) if name not in before}
    assert made <= {"typed", "runs", "streets"}, made


def test_what_can_be_done_still_is_after_it(folder):
    (result,) = command_driver.call_command("drsl_tf.predict", [_PREDICT], folder)
    assert result.returncode == 0, result
    assert (folder / "out" / "ids" / "a.png").exists()
