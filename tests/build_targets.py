"""What the BUILD files should declare, read off the Python files.

One target a file: a `py_test` for a test, a `py_binary` for what runs as a module, a `py_library`
for the rest. A target depends on what its file imports, within functions too, and on

- modules that a test or benchmark names in text: as `python -m` does, or in an import of a
  configuration or of code for another process;
- the module, or the modules of the folder, in `_LOADED_BY_NAME`;
- the gin configurations, for binaries and tests that read them by name;
- `conftest.py` of its own folder and of those above, for tests.
"""

from __future__ import annotations

import ast
import sys
from typing import NamedTuple

from tests import python_imports

_CONFIGS = "//gin_configs:__init__"
_READS_CONFIGS = "//drsl_tf/config:configuration"
_RUNNER = "//tests:run_pytest"
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "gin": "gin-config",
    "keras_cv": "keras-cv",
    "tensorflow_addons": "tensorflow-addons",
}
_LOADED_BY_NAME = {
    "data_pipelines/domains/__init__.py": "data_pipelines/domains",
    # By the configuration of the arms with triplets.
    "benchmarks/adaptation_arms.py": "benchmarks/triplet_model.py",
}


class Target(NamedTuple):
    """One rule of a BUILD file.

    Attributes:
        rule: py_binary, py_library or py_test.
        name: its name.
        srcs: its files.
        deps: labels of targets, and `requirement("x")` for third-party packages.
        others: further attributes that matter, as source text.
    """

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()


def expect_targets() -> dict[str, Target]:
    """Works out the target of every Python file.

    Returns:
        Path -> target.
    """
    paths = python_imports.list_python_files()
    labels = {path: _make_label(path) for path in paths}
    deps = {labels[path]: _find_deps(path, labels) for path in paths}
    targets = {}
    for path in paths:
        rule = _choose_rule(path)
        needed = set(deps[labels[path]])
        if rule != "py_library" and _READS_CONFIGS in _close(needed, deps):
            needed.add(_CONFIGS)
        folder, _, name = path.rpartition("/")
        others: tuple[tuple[str, str], ...] = ()
        if rule == "py_test":
            others = (("args", f'["{path}"]'), ("main_module", '"tests.run_pytest"'))
        elif path.startswith("tests/"):
            others = (("testonly", "True"),)
        targets[path] = Target(
            rule,
            name[:-3],
            (name,),
            tuple(_sort({_shorten(dep, folder) for dep in needed})),
            others,
        )
    return targets


def find_cycle(targets: dict[str, Target]) -> list[str] | None:
    """Finds targets that depend on each other in a circle, which Bazel refuses.

    Args:
        targets: path -> target.

    Returns:
        Their labels in order; None where there is no circle.
    """
    graph = {}
    for path, target in targets.items():
        folder = path.rpartition("/")[0]
        graph[_make_label(path)] = [_lengthen(dep, folder) for dep in target.deps]
    done: set[str] = set()

    def visit(label, trail):
        if label in trail:
            return [*trail[trail.index(label) :], label]
        if label not in done:
            for dep in graph.get(label, ()):
                found = visit(dep, [*trail, label])
                if found:
                    return found
            done.add(label)
        return None

    return next(filter(None, (visit(label, []) for label in graph)), None)


def _choose_rule(path):
    name = path.rpartition("/")[2]
    if name.startswith("test_"):
        return "py_test"
    is_main = any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        for node in python_imports.parse_file(path).body
    )
    return "py_binary" if is_main else "py_library"


def _find_deps(path, labels) -> set[str]:
    tree = python_imports.parse_file(path)
    imported = set(python_imports.iterate_imports(tree))
    if path.startswith(("tests/", "benchmarks/")):
        imported |= set(python_imports.iterate_named_modules(tree, labels))
    deps = set()
    for module in imported:
        top = module.split(".")[0]
        if top in python_imports.PACKAGES:
            place = python_imports.find_module(module, labels)
            assert place is not None, f"{path} imports {module}, which is nowhere"
            deps.add(labels[place])
        elif top not in sys.stdlib_module_names and top != "__future__":
            deps.add(f'requirement("{_DISTRIBUTIONS.get(top, top)}")')
    folder = path.rpartition("/")[0]
    if path in _LOADED_BY_NAME:
        below = [p for p in labels if _LOADED_BY_NAME[path] in (p, p.rpartition("/")[0])]
        deps |= {labels[p] for p in below}
    if path == "gin_configs/__init__.py":
        deps |= {
            labels[python_imports.find_module(module, labels)]
            for module in python_imports.iterate_config_imports()
        }
    if _choose_rule(path) == "py_test":
        deps.add(_RUNNER)
        while folder:
            if f"{folder}/conftest.py" in labels:
                deps.add(labels[f"{folder}/conftest.py"])
            folder = folder.rpartition("/")[0]
    return deps - {labels[path]}


def _close(deps, graph) -> set[str]:
    reached, waiting = set(), list(deps)
    while waiting:
        label = waiting.pop()
        if label not in reached:
            reached.add(label)
            waiting += graph.get(label, ())
    return reached


def _make_label(path):
    folder, _, name = path.rpartition("/")
    return f"//{folder}:{name[:-3]}"


def _shorten(label, folder):
    if label.startswith(f"//{folder}:"):
        return label[len(folder) + 2 :]
    place, _, name = label.partition(":")
    return place if place.endswith(f"/{name}") else label


def _lengthen(label, folder):
    if label.startswith(":"):
        return f"//{folder}{label}"
    return label if ":" in label else f"{label}:{label.rpartition('/')[2]}"


def _sort(deps):
    """The order of buildifier: own package, other packages, then what is no string."""

    def key(dep):
        return dep.startswith("requirement("), not dep.startswith(":"), dep.replace(":", "!")

    return tuple(sorted(deps, key=key))
