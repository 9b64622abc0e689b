"""The BUILD files: read, compared with the Python files, and mended.

    python -m tests.build_files --fix

writes what is missing or wrong, and leaves other attributes, comments and rules as they are.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator

from tests import python_imports
from tests.build_targets import Target
from tests.build_targets import expect_targets

RULES = ("py_binary", "py_library", "py_test")

_CHECKED = ("args", "main_module", "testonly")
_LOADS = {
    "requirement": "@pip//:requirements.bzl",
    **{rule: f"@rules_python//python:{rule}.bzl" for rule in RULES},
}


def read_targets(folder: str) -> dict[str, tuple[Target, ast.Call]]:
    """Reads the Python rules of a BUILD file, which is valid Python.

    Args:
        folder: path of its folder below the root.

    Returns:
        Name -> the target and its node; empty without a file.
    """
    targets = {}
    for call in _iterate_calls(_read_build(folder)):
        if call.func.id in RULES:
            given = {word.arg: word.value for word in call.keywords}
            others = tuple(
                (key, ast.unparse(given[key]).replace("'", '"')) for key in _CHECKED if key in given
            )
            target = Target(
                call.func.id,
                ast.literal_eval(given["name"]),
                tuple(ast.literal_eval(given["srcs"])) if "srcs" in given else (),
                tuple(_read_deps(given.get("deps"))),
                others,
            )
            assert target.name not in targets, f"{folder}/BUILD has two targets {target.name}"
            targets[target.name] = (target, call)
    return targets


def check_loads(folder: str) -> list[str]:
    """Compares what a BUILD file loads with what it uses.

    Args:
        folder: path of its folder below the root.

    Returns:
        What is wrong, as sentences.
    """
    loaded, used = set(), set()
    for node in ast.walk(ast.parse(_read_build(folder))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "load":
                place, *names = [ast.literal_eval(argument) for argument in node.args]
                loaded |= {(place, name) for name in names}
            elif node.func.id in _LOADS:
                used.add((_LOADS[node.func.id], node.func.id))
    return [f"load {name} from {place}" for place, name in sorted(used - loaded)] + [
        f"do not load {name} from {place}" for place, name in sorted(loaded - used)
    ]


def format_target(target: Target, call: ast.Call | None = None, text: str = "") -> str:
    """Formats a target as buildifier does.

    Args:
        target: what to write.
        call: the node that it takes the place of; its further attributes stay.
        text: the source of that node's file.

    Returns:
        The text, without a newline at its end.
    """
    attributes = {"name": f'"{target.name}"', "srcs": _format_list(target.srcs)}
    attributes.update(target.others)
    for word in call.keywords if call is not None else []:
        if word.arg not in ("name", "srcs", "deps", *_CHECKED):
            attributes[word.arg] = ast.get_source_segment(text, word.value)
    if target.deps:
        attributes["deps"] = _format_list(target.deps)
    first = [key for key in ("name", "size", "timeout", "testonly", "srcs") if key in attributes]
    middle = sorted(key for key in attributes if key not in (*first, "deps"))
    keys = [*first, *middle, *(["deps"] if target.deps else [])]
    lines = [f"    {key} = {attributes[key]}," for key in keys]
    return "\n".join([f"{target.rule}(", *lines, ")"])


def fix_folder(folder: str, expected: list[Target]) -> None:
    """Writes what is missing or wrong in a BUILD file.

    Args:
        folder: path of its folder below the root.
        expected: the folder's targets.
    """
    text = _read_build(folder) or _HEADER.format(folder=folder)
    targets = read_targets(folder)
    lines = text.splitlines()
    wanted = {target.name: target for target in expected}
    for name, (target, call) in sorted(targets.items(), key=lambda item: -item[1][1].lineno):
        new = wanted.get(name)
        if new != target:
            replacement = format_target(new, call, text).splitlines() if new else []
            lines[call.lineno - 1 : call.end_lineno] = replacement
    for name in sorted(set(wanted) - set(targets)):
        lines += ["", *format_target(wanted[name]).splitlines()]
    text = "\n".join(lines) + "\n"
    text = re.sub(r"^load\(.*\)\n", "", text, flags=re.MULTILINE)
    used = [name for name in _LOADS if re.search(rf"\b{name}\(", text)]
    loads = "".join(
        f'load("{place}", "{name}")\n' for place, name in sorted((_LOADS[n], n) for n in used)
    )
    head, rest = text.split("\n", 1)
    text = f"{head}\n\n{loads}\n{rest.lstrip()}"
    with open(os.path.join(python_imports.ROOT, folder, "BUILD"), "w", encoding="utf-8") as file:
        file.write(re.sub(r"\n{3,}", "\n\n", text))


_HEADER = '"""Targets of {folder}."""\n\npackage(default_visibility = ["//visibility:public"])\n'


def _read_build(folder):
    path = os.path.join(python_imports.ROOT, folder, "BUILD")
    if not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _iterate_calls(text) -> Iterator[ast.Call]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            if isinstance(node.value.func, ast.Name):
                yield node.value


def _read_deps(node) -> Iterator[str]:
    for element in node.elts if node is not None else []:
        if isinstance(element, ast.Constant):
            yield element.value
        else:
            yield ast.unparse(element).replace("'", '"')


def _format_list(values):
    items = [v if v.startswith("requirement(") else f'"{v}"' for v in values]
    if len(items) == 1:
        return f"[{items[0]}]"
    return "[\n" + "".join(f"        {item},\n" for item in items) + "    ]"


def _main():
    by_folder: dict[str, list[Target]] = {}
    for path, target in expect_targets().items():
        by_folder.setdefault(path.rpartition("/")[0], []).append(target)
    for folder, targets in sorted(by_folder.items()):
        fix_folder(folder, targets)


if __name__ == "__main__":
    if sys.argv[1:] != ["--fix"]:
        sys.exit(__doc__)
    _main()
