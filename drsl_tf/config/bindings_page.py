"""Generates the page of all bindings from signatures, docstrings and macros."""

from __future__ import annotations

import importlib
import inspect
import operator
import os
import re
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from gin.config_parser import ImportStatement

import drsl_tf
import gin_configs
from data_pipelines.domains import READERS
from drsl_tf.config.gin_files import read_gin_file

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The run",
        (
            "drsl_tf.adapt",
            "drsl_tf.RunSettings",
            "drsl_tf.Learner",
            "drsl_tf.Schedule",
            "drsl_tf.count_all_steps",
            "drsl_tf.SelfTraining",
            "drsl_tf.Inference",
            "drsl_tf.Monitoring",
        ),
    ),
    (
        "Data",
        (
            "data_pipelines.batches.adaptation.AdaptationData",
            "data_pipelines.batches.augment.Augmenter",
            "data_pipelines.batches.adaptation.FurtherSource",
            "data_pipelines.batches.rare_classes.RareClassSampler",
            "data_pipelines.batches.patch_mining.PatchMiner",
            "data_pipelines.labels.label_spaces.custom",
            "data_pipelines.streets.rendered.rendered_root",
        ),
    ),
    (
        "Data sets",
        tuple(f"data_pipelines.domains.{module}.{name}" for module, name in READERS.items()),
    ),
    ("Model", ("drsl_tf.build_model", "drsl_tf.DrslModel")),
    ("Model that labels in training", ("drsl_tf.OnlineDrslModel",)),
    (
        "Base networks",
        (
            "drsl_tf.backbones.small_cnn",
            "drsl_tf.backbones.efficientnet_lite0",
            "drsl_tf.backbones.mobilenet_v2",
            "drsl_tf.backbones.resnet101",
            "drsl_tf.backbones.vgg16",
            "drsl_tf.backbones.mit",
            "drsl_tf.backbones.keras_hub_pyramid",
            "drsl_tf.backbones.dinov3",
        ),
    ),
    (
        "Heads",
        (
            "drsl_tf.LinearHead",
            "drsl_tf.DeepLabV2Head",
            "drsl_tf.DeepLabV3PlusHead",
            "drsl_tf.Fcn8sHead",
            "drsl_tf.SegFormerHead",
            "drsl_tf.DAFormerHead",
            "drsl_tf.MultimodalHead",
            "drsl_tf.ModeStart",
        ),
    ),
    ("Pseudo-labels", ("drsl_tf.PseudoLabeler", "drsl_tf.TargetStatistics")),
    ("Optimization", ("drsl_tf.StageSchedule", "drsl_tf.KernelAdamW", "drsl_tf.GradientUpdate")),
)
"""The callables of this project that configurations bind, by dotted path in gin files."""

_GIVEN = {"drsl_tf.adapt": ("run_dir",)}
_HEAD = """# Bindings

<!-- Written by: python -m drsl_tf.describe_bindings > docs/configuration.md -->

A configuration binds arguments of the functions and classes below, as `name.argument = value`
after an import of the module. On the command line `--gin_param="name.argument = value"` overrides
every file, and `--gin_param="MACRO = value"` sets a macro. A binding, macro or argument that does
not exist, or that nothing uses, is an error with a suggestion. `RUN_DIR/config.gin` records all
values in force, including defaults. Optimizers and callbacks of `keras` are bound in the same way.

A gin file imports and calls what it names: review an untrusted file as you would review code.
"""


def format_page() -> str:
    """Formats the page.

    Returns:
        Markdown, the same on both dependency lines.
    """
    parts = [_HEAD]
    for title, paths in SECTIONS:
        parts.append(f"## {title}\n")
        parts += [_format_callable(path) for path in paths]
    parts += ["## Macros\n", _format_macros()]
    return "\n".join(parts)


def find_callable(path: str) -> Callable:
    """Returns the callable that a dotted path names."""
    if path.startswith("drsl_tf."):
        return operator.attrgetter(path.removeprefix("drsl_tf."))(drsl_tf)
    module, _, name = path.rpartition(".")
    # The names come from the table of sections, never from a file.
    return getattr(importlib.import_module(module), name)  # noqa: TID251


def list_config_files() -> list[str]:
    """Lists the names of the package's gin files, relative to its root."""
    root = os.path.abspath(gin_configs.__path__[0])
    found = []
    for folder, _, names in os.walk(root):
        found += [os.path.join(folder, name) for name in names if name.endswith(".gin")]
    return sorted(os.path.relpath(path, root).replace(os.sep, "/") for path in found)


def _format_callable(path: str) -> str:
    target = find_callable(path)
    if path.startswith("drsl_tf."):
        lines = [f"### `{path}`\n", "`import drsl_tf`. "]
    else:
        package, module, name = path.rsplit(".", 2)
        lines = [f"### `{module}.{name}`\n", f"`from {package} import {module}`. "]
    lines[-1] += (inspect.getdoc(target) or "").split("\n\n")[0].replace("\n", " ") + "\n"
    rows = []
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            rows.append(f"| `...` | | {_find_description(target, '**' + parameter.name)} |")
            continue
        required = parameter.default is parameter.empty
        # The program passes positional parameters without defaults.
        passed = required and parameter.kind is not parameter.KEYWORD_ONLY
        if not passed and parameter.name not in _GIVEN.get(path, ()):
            default = "required" if required else f"`{_format_value(parameter.default)}`"
            text = _find_description(target, parameter.name)
            rows.append(f"| `{parameter.name}` | {default} | {text} |")
    if rows:
        lines += ["| argument | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _format_value(value: Any) -> str:
    return value.__name__ if callable(value) else repr(value)


def _find_description(target: Callable, name: str) -> str:
    """Reads an argument's description in the docstring of a callable or of its base classes."""
    owners = inspect.getmro(target) if inspect.isclass(target) else (target,)
    for owner in owners:
        text = _read_arguments(inspect.getdoc(owner) or "").get(name)
        if text:
            return text.replace("|", "\\|")
    raise ValueError(f"The docstring of {target.__name__} says nothing of {name}.")


def _read_arguments(doc: str) -> dict[str, str]:
    match = re.search(r"^Args:\n((?:[ ]+.*\n|\n)*)", doc + "\n", flags=re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in match.group(1).splitlines() if match else []:
        start = re.match(r" {4}(\*{0,2}\w+): (.*)", line)
        if start:
            name = start.group(1)
            found[name] = start.group(2)
        elif line.strip() and name:
            found[name] += " " + line.strip()
    return found


def _format_macros() -> str:
    uses: dict[str, set] = {}
    values: dict[str, dict[str, str]] = {}
    for file in list_config_files():
        for key, value in _iterate_lines(file):
            if "." not in key:
                values.setdefault(key, {})[file] = value
            for macro in re.findall(r"%(\w+)", value):
                uses.setdefault(macro, set()).add(key)
    lines = ["| macro | binds | values |", "|---|---|---|"]
    for macro in sorted(values):
        binds = ", ".join(f"`{key}`" for key in sorted(uses.get(macro, ())))
        given = ", ".join(f"`{value}` in {file}" for file, value in sorted(values[macro].items()))
        lines.append(f"| `{macro}` | {binds} | {given} |")
    return "\n".join(lines) + "\n"


def _iterate_lines(file: str) -> Iterator[tuple[str, str]]:
    """Yields the bindings of a file itself, without those of included files."""
    root = os.path.abspath(gin_configs.__path__[0])
    path = os.path.join(root, file)
    for line in read_gin_file(path):
        if line.origin == path and not isinstance(line.value, ImportStatement):
            yield line.key, repr(line.value)
