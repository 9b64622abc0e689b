"""A training step in XLA's format, with its arguments and what TensorFlow computes from them."""

from __future__ import annotations

import gzip
import json
import os

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

from benchmarks import accelerator_step
from benchmarks.steps import step_model

# Operations whose float operands must have one type in StableHLO, and which TensorFlow's gradients
# have lowered with two.
_OF_ONE_TYPE = {"add", "divide", "dot", "maximum", "minimum", "multiply", "select", "subtract"}


def lower_step(folder: str, network: str, modes: int, size: tuple[int, int, int]) -> dict:
    """Lowers one training step and computes what it must return.

    Args:
        folder: folder to write to.
        network: one of `networks.NAMES`.
        modes: modes per class; 0 trains by cross-entropy only.
        size: images of each domain, height and width.

    Returns:
        The step's terms, by name.
    """
    keras.utils.set_random_seed(0)
    model = step_model.build_model(network, modes)
    batch = step_model.draw_batch(*size)
    tensors = tf.nest.map_structure(tf.constant, batch)
    step = tf.function(model.train_step, jit_compile=True)
    lowered = step.experimental_get_compiler_ir(tensors)(stage="hlo_serialized")
    portable, written = make_portable(lowered)
    with gzip.open(os.path.join(folder, "step.hlo.gz"), "wb") as file:
        file.write(portable)

    # The arguments of the lowered step: the batch, then what the function captures.
    concrete = step.get_concrete_function(tensors)
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    inputs = [*tf.nest.flatten(batch)]
    inputs += [variables.get(id(tensor), tensor) for tensor in concrete.captured_inputs]
    arguments, stored, drawn_batch = [], {}, []
    for number, item in enumerate(inputs):
        value = item if isinstance(item, np.ndarray) else item.numpy()
        if value.dtype == np.float32 and value.size > accelerator_step.MOST_STORED:
            drawn = {
                "seed": number,
                "shape": list(value.shape),
                "mean": float(value.mean()),
                "deviation": float(value.std()),
            }
            value = accelerator_step.draw(**drawn)
            arguments.append({"drawn": drawn})
        else:
            arguments.append({"stored": f"a{number}"})
            stored[f"a{number}"] = value
        if isinstance(item, np.ndarray):
            drawn_batch.append(tf.constant(value))
        elif isinstance(item, tf.Variable):
            item.assign(value)
    np.savez_compressed(os.path.join(folder, "arguments.npz"), **stored)

    terms = tf.function(model.train_step)(tf.nest.pack_sequence_as(batch, drawn_batch))
    expected = {}
    if written != sorted(written):  # The order in which `accelerator_step` assigns the results.
        raise ValueError(f"The step returns its arguments in another order: {written}.")
    for number in written:
        arguments[number]["written"] = inputs[number].name
        expected[f"a{number}"] = accelerator_step.sample(inputs[number].numpy())
    np.savez_compressed(os.path.join(folder, "expected.npz"), **expected)
    terms = {name: float(value) for name, value in sorted(terms.items())}
    content = {
        "network": network,
        "modes": modes,
        "images": size[0],
        "height": size[1],
        "width": size[2],
        "policy": keras.mixed_precision.global_policy().name,
        "parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "terms": terms,
        "arguments": arguments,
    }
    with open(os.path.join(folder, "step.json"), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    return terms


def make_portable(lowered: bytes) -> tuple[bytes, list[int]]:
    """Removes from a lowered step what StableHLO does not have.

    Copies are dropped. In bfloat16 the gradient of `tf.image.resize` is float32, and sums and
    products of the two types appear; operands are converted to the type of the result.

    Args:
        lowered: serialized HloModuleProto.

    Returns:
        The same computation, serialized, and the numbers of the arguments that it returns changed,
        in the order of its results, where they follow the step's terms.
    """
    floats = {xla_data_pb2.BF16, xla_data_pb2.F16, xla_data_pb2.F32}
    module = hlo_pb2.HloModuleProto.FromString(lowered)
    last_id = max(item.id for part in module.computations for item in part.instructions)
    for computation in module.computations:
        kept: dict[int, hlo_pb2.HloInstructionProto] = {}  # In order: operands come first.
        source_of: dict[int, int] = {}  # A copy's id to the id of what it copies.
        for instruction in computation.instructions:
            operands = [source_of.get(number, number) for number in instruction.operand_ids]
            if instruction.opcode == "copy":
                source_of[instruction.id] = operands[0]
                continue
            found = floats & {kept[number].shape.element_type for number in operands}
            if instruction.opcode in _OF_ONE_TYPE and len(found) > 1:
                to_type = instruction.shape.element_type
                for position, number in enumerate(operands):
                    if kept[number].shape.element_type not in found - {to_type}:
                        continue
                    last_id += 1
                    operands[position] = last_id
                    convert = hlo_pb2.HloInstructionProto(
                        id=last_id,
                        name=f"portable.{last_id}",
                        opcode="convert",
                        operand_ids=[number],
                        shape=kept[number].shape,
                    )
                    convert.shape.element_type = to_type
                    kept[last_id] = convert
            instruction.operand_ids[:] = operands
            kept[instruction.id] = instruction
        # A copy of the list: clearing the field would clear its elements as well.
        instructions = [
            hlo_pb2.HloInstructionProto.FromString(i.SerializeToString()) for i in kept.values()
        ]
        del computation.instructions[:]
        computation.instructions.extend(instructions)
        computation.root_id = source_of.get(computation.root_id, computation.root_id)
    aliases = sorted(
        module.input_output_alias.entries, key=lambda alias: alias.output_shape_index[0]
    )
    return module.SerializeToString(), [alias.parameter_number for alias in aliases]
