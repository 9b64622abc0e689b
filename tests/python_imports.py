"""What Python files and gin files import, read and not run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ("benchmarks", "data_pipelines", "drsl_tf", "gin_configs", "tests")

_IMPORT = re.compile(r"\s*(?:from\s+([\w.]+)\s+import\s+(\w+)|import\s+([\w.]+))")


def list_python_files() -> list[str]:
    """Lists the repository's Python files, as paths below its root."""
    found = []
    for package in PACKAGES:
        for folder, folders, names in os.walk(os.path.join(ROOT, package)):
            folders[:] = [name for name in folders if name != "__pycache__"]
            found += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    return sorted(os.path.relpath(path, ROOT).replace(os.sep, "/") for path in found)


def parse_file(path: str) -> ast.Module:
    """Parses a Python file, by its path below the root."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return ast.parse(file.read())


def iterate_imports(tree: ast.Module) -> Iterator[str]:
    """Yields the names that a file imports, within functions too, attributes among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            literal = node.args and isinstance(node.args[0], ast.Constant)
            if called in ("importorskip", "import_module") and literal:
                yield node.args[0].value


def iterate_named_modules(tree, labels) -> Iterator[str]:
    """Yields our modules that stand in a file's texts, docstrings apart."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) in docs:
            continue
        if "." in node.value and find_module(node.value, labels, exact=True):
            yield node.value
        for line in re.split(r"[\n;]", node.value):
            yield from _iterate_line_imports(line, labels)


def _iterate_line_imports(line, labels) -> Iterator[str]:
    match = _IMPORT.match(line)
    if match:
        module = match.group(3) or f"{match.group(1)}.{match.group(2)}"
        if module.split(".")[0] in PACKAGES and find_module(module, labels):
            yield module


def iterate_config_imports() -> Iterator[str]:
    """Yields our modules that the gin configurations import."""
    labels = {path: "" for path in list_python_files()}
    for folder, _, names in os.walk(os.path.join(ROOT, "gin_configs")):
        for name in names:
            if name.endswith(".gin"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    for line in file:
                        yield from _iterate_line_imports(line, labels)


def find_module(module, labels, exact=False) -> str | None:
    """Finds the file of a module, or that of the module whose attribute the name is."""
    place = module.replace(".", "/")
    above = place.rpartition("/")[0]
    candidates = [f"{place}.py", f"{place}/__init__.py"]
    if not exact:
        candidates += [f"{above}.py", f"{above}/__init__.py"]
    return next((path for path in candidates if path in labels), None)
