"""Steps for an accelerator: arguments drawn on both sides, and what a lowered step holds."""

import gzip
import json
import sys

import numpy as np
import pytest

from benchmarks import accelerator
from benchmarks import accelerator_step
from drsl_tf import compat
from tests.support import calls

_STEP = """
import sys
print("a library's greeting")
for line in sys.stdin:
    print(f'{{"seconds": {int(line)}}}', flush=True)
"""


def test_drawn_arguments_have_their_moments_and_depend_on_the_seed():
    drawn = accelerator_step.draw(3, [200, 100], 2.0, 0.5)
    assert drawn.dtype == np.float32
    assert drawn.shape == (200, 100)
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [2.0, 0.5], atol=0.01)
    np.testing.assert_array_equal(drawn, accelerator_step.draw(3, (200, 100), 2.0, 0.5))
    assert np.any(drawn != accelerator_step.draw(4, [200, 100], 2.0, 0.5))


def test_samples_are_spread_over_the_whole_array():
    np.testing.assert_array_equal(accelerator_step.sample(np.arange(6).reshape(2, 3)), range(6))
    found = accelerator_step.sample(np.arange(100_000))
    assert len(found) == 256
    assert found[0] == 0
    assert found[-1] == 99_999


def test_steps_are_timed_by_their_median():
    answers = iter([0.25, *range(9)])
    counts = []
    found = accelerator.time_steps(lambda count: counts.append(count) or next(answers))
    assert found == {"median": 4000.0, "low": 0.0, "high": 8000.0, "steps": 3}
    assert counts == [5] + 9 * [3]


def test_a_process_answers_in_json_and_its_failure_has_its_last_words(tmp_path):
    process = accelerator.Process([sys.executable, "-c", _STEP], tmp_path / "log")
    assert process.ask("7") == {"seconds": 7}
    with pytest.raises(RuntimeError, match="invalid literal"):
        process.ask("many")
    process.kill()


def test_a_portable_step_has_no_copies_and_sums_of_one_type():
    from tensorflow.compiler.xla import xla_data_pb2
    from tensorflow.compiler.xla.service import hlo_pb2

    from benchmarks.steps import lowering

    def make(number, opcode, kind, *operands):
        shape = xla_data_pb2.ShapeProto(element_type=kind, dimensions=[4])
        return hlo_pb2.HloInstructionProto(
            id=number, name=f"{opcode}.{number}", opcode=opcode, shape=shape, operand_ids=operands
        )

    narrow, wide = xla_data_pb2.BF16, xla_data_pb2.F32
    instructions = [
        make(1, "parameter", wide),
        make(2, "parameter", narrow),
        make(3, "copy", narrow, 2),
        make(4, "add", wide, 1, 3),
        make(5, "add", wide, 4, 1),
        make(6, "copy", wide, 5),
    ]
    computation = hlo_pb2.HloComputationProto(id=1, instructions=instructions, root_id=6)
    aliases = [
        hlo_pb2.HloInputOutputAliasProto.AliasEntryProto(
            output_shape_index=[result], parameter_number=number
        )
        for result, number in ((3, 0), (2, 1))
    ]
    module = hlo_pb2.HloModuleProto(computations=[computation])
    module.input_output_alias.entries.extend(aliases)
    portable, written = lowering.make_portable(module.SerializeToString())
    assert written == [1, 0]
    (found,) = hlo_pb2.HloModuleProto.FromString(portable).computations
    assert found.root_id == 5
    assert [(i.id, i.opcode, list(i.operand_ids)) for i in found.instructions] == [
        (1, "parameter", []),
        (2, "parameter", []),
        (7, "convert", [2]),
        (4, "add", [1, 7]),
        (5, "add", [4, 1]),
    ]
    assert [i.shape.element_type for i in found.instructions] == [wide, narrow, wide, wide, wide]
    assert lowering.make_portable(portable) == (portable, written)


@pytest.mark.skipif(compat.KERAS_3, reason="The newer line lowers steps")
def test_the_older_line_says_that_it_lowers_no_steps(tmp_path):
    result = calls.call_python("-m", "benchmarks.lower_step", f"--output={tmp_path}")
    calls.assert_refused(result, "newer dependency line")


@pytest.mark.slow
@pytest.mark.skipif(not compat.KERAS_3, reason="Steps are lowered on the newer line")
def test_a_lowered_step_lists_its_arguments_and_what_it_writes(tmp_path):
    from benchmarks.steps import lowering

    terms = lowering.lower_step(str(tmp_path), "small_cnn", 3, (1, 64, 64))
    content = json.loads((tmp_path / "step.json").read_text())
    assert content["terms"] == terms
    assert set(terms) >= {"loss", "ce_source", "dml_target", "sma", "gradient_norm"}
    stored, expected = (np.load(tmp_path / f"{name}.npz") for name in ("arguments", "expected"))
    drawn = {}
    for number, argument in enumerate(content["arguments"]):
        if "drawn" in argument:
            assert argument["drawn"]["seed"] == number
            drawn[number] = accelerator_step.draw(**argument["drawn"])
        assert ("drawn" in argument) != (argument.get("stored") in stored)
        assert ("written" in argument) == (f"a{number}" in expected)
    results = lowering.make_portable(gzip.open(tmp_path / "step.hlo.gz").read())[1]
    assert results == [n for n, a in enumerate(content["arguments"]) if "written" in a]
    # Adam's first step changes a weight by its rate, whatever the gradient.
    kernels = [
        number
        for number, argument in enumerate(content["arguments"])
        if number in drawn and argument.get("written", "").endswith("_conv/kernel:0")
    ]
    assert kernels
    for number in kernels:
        change = expected[f"a{number}"] - accelerator_step.sample(drawn[number])
        np.testing.assert_allclose(np.median(np.abs(change)), 1e-4, rtol=0.01)
