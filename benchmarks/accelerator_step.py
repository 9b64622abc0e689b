"""Runs a step of `lower_step` on an accelerator; needs JAX and NumPy, nothing of this project.

  echo 20 | python benchmarks/accelerator_step.py FOLDER [exact]

Compiles the step, compares one step with what TensorFlow computed on the CPU, and then reads counts
of steps and prints their seconds. Every line of output is JSON. With `exact` all products are in
float32; without it XLA may use TensorFloat-32.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time

import numpy as np

MOST_STORED = 4096
"""Larger float arrays are drawn on both sides instead of stored."""
_SAMPLES = 256


def draw(seed, shape, mean, deviation):
    """Draws a float32 array of independent uniform numbers; equal for all versions of NumPy."""
    generator = np.random.Generator(np.random.Philox(seed))
    uniform = generator.random(tuple(shape), dtype=np.float32)
    return (mean + deviation * 12**0.5 * (uniform - 0.5)).astype(np.float32)


def sample(array):
    """Returns up to 256 evenly spaced values of a flattened array."""
    flat = np.asarray(array).reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(flat.size, _SAMPLES)).astype(np.int64)]


def make_step(lowered, exact):
    """Creates a JAX function from a lowered step.

    Args:
        lowered: serialized HloModuleProto.
        exact: whether products are computed in float32 throughout.

    Returns:
        A function from the step's arguments to a list of its results.
    """
    import jax
    from jax._src.interpreters import mlir
    from jax.extend import core
    from jax.extend.mlir import hlo_to_stablehlo
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import func

    module = hlo_to_stablehlo(lowered)
    with mlir.make_ir_context():
        parsed = ir.Module.parse(module)
        if exact:
            text = str(parsed).replace("precision DEFAULT", "precision HIGHEST")
            module = text.replace(
                "precision = [DEFAULT, DEFAULT]", "precision = [HIGHEST, HIGHEST]"
            )
        results = ir.SymbolTable(parsed.operation)["main"].type.results
        dtypes = {"f32": np.float32, "bf16": jax.numpy.bfloat16, "i32": np.int32, "i64": np.int64}
        shapes = [
            jax.core.ShapedArray(tuple(kind.shape), dtypes[str(kind.element_type)])
            for kind in results
        ]
    primitive = core.Primitive("lowered_step")
    primitive.multiple_results = True
    primitive.def_abstract_eval(lambda *arguments: shapes)

    def lower(context, *arguments):
        inner = ir.Module.parse(module)
        kinds = ir.SymbolTable(inner.operation)["main"].type.results
        name = mlir.merge_mlir_modules(
            context.module_context.module,
            "lowered_step",
            inner,
            dst_symtab=context.module_context.symbol_table,
        )
        return func.CallOp(kinds, ir.FlatSymbolRefAttr.get(name), arguments).results

    mlir.register_lowering(primitive, lower)
    return lambda *arguments: primitive.bind(*arguments)


def main():
    """Compiles, compares and times."""
    import jax

    jax.config.update("jax_enable_x64", True)  # Counters are int64.
    folder, exact = sys.argv[1], sys.argv[2:] == ["exact"]
    with open(os.path.join(folder, "step.json"), encoding="utf-8") as file:
        content = json.load(file)
    with gzip.open(os.path.join(folder, "step.hlo.gz")) as file:
        step = make_step(file.read(), exact)
    values = np.load(os.path.join(folder, "arguments.npz"))
    arguments = [
        draw(**argument["drawn"]) if "drawn" in argument else values[argument["stored"]]
        for argument in content["arguments"]
    ]
    written = [n for n, argument in enumerate(content["arguments"]) if "written" in argument]
    device = jax.devices()[0]
    arguments = [jax.device_put(argument, device) for argument in arguments]
    began = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=tuple(written)).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    found = {
        "device": device.device_kind,
        "jax": jax.__version__,
        "compile_seconds": round(time.perf_counter() - began, 1),
        "planned_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes,
    }
    print(json.dumps(found), flush=True)

    num_terms = len(content["terms"])

    def run():
        results = compiled(*arguments)
        if len(results) != num_terms + len(written):
            raise ValueError(f"{len(results)} results, {num_terms} + {len(written)} expected.")
        for number, result in zip(written, results[num_terms:]):
            arguments[number] = result
        return results[:num_terms]

    terms = run()
    expected = np.load(os.path.join(folder, "expected.npz"))
    errors = []
    for number in written:
        want = np.asarray(expected[f"a{number}"], np.float64)
        got = np.asarray(sample(np.asarray(arguments[number])), np.float64)
        name = content["arguments"][number]["written"]
        errors.append((name, float(np.linalg.norm(got - want)), float(np.linalg.norm(want))))
    print(
        json.dumps(
            {
                "terms": [float(term) for term in terms],
                "expected_terms": list(content["terms"].values()),
                "errors": errors,
            }
        ),
        flush=True,
    )
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            terms = run()
        loss = [float(term) for term in terms]
        seconds = (time.perf_counter() - began) / int(line)
        print(json.dumps({"seconds": seconds, "terms": loss}), flush=True)


if __name__ == "__main__":
    main()
