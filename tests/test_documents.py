"""Every command of README.md and docs/ means something; and, slowly, runs.

DRSL_TF_DOCS names the documents to run, with commas between them, or "all"; README.md by default.
"""

import ast
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from drsl_tf.config.configuration import Configuration
from drsl_tf.training.adapt import adapt
from tests.support import repository
from tests.support.documents import commands
from tests.support.documents.shortening import TABLE
from tests.support.documents.shortening import Shortening

_OURS = ("benchmarks", "data_pipelines", "drsl_tf")
_TIMEOUT = 900


def _list_documents():
    names = sorted(os.listdir(os.path.join(repository.ROOT, "docs")))
    return ["README.md", *(f"docs/{name}" for name in names if name.endswith(".md"))]


def _read(document):
    with open(os.path.join(repository.ROOT, document), encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder like the project's root, but for the data, the runs and the code."""
    os.symlink(os.path.join(repository.ROOT, "gin_configs"), tmp_path / "gin_configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_files(document, folder):
    for name, content in commands.list_written_files(_read(document)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_the_table_names_documents_and_commands_that_are_there():
    documents = _list_documents()
    for document, shortening in TABLE.items():
        assert document in documents
        text = "\n".join(commands.list_commands(_read(document)))
        for pattern in shortening.impossible:
            assert _find(pattern, text), f"{document} has no command that matches {pattern!r}"


def _find(pattern, text):
    return re.search(pattern, text, re.MULTILINE)


@functools.cache
def _list_flags(module):
    """Names of the flags that a module of ours defines, without importing it."""
    path = os.path.join(repository.ROOT, *module.split(".")) + ".py"
    assert os.path.isfile(path), f"there is no module {module}"
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("DEFINE_")
    }
    homes = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "flags.adopt_module_key_flags":
            names |= _list_flags(homes[ast.unparse(node.args[0])])
    return names


def _check_call(words, written):
    """Checks a call of python: module, flags, and the experiment that its gin files give.

    Args:
        words: the call.
        written: files that earlier commands write, which are not there.
    """
    if words[1] != "-m":
        return
    module = words[2]
    if module.split(".")[0] not in _OURS:
        assert importlib.util.find_spec(module.split(".")[0]), f"there is no module {module}"
        return
    known = {*_list_flags(module), "debug", "help"}
    values = {}
    for word in words[3:]:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            assert name in known or name.removeprefix("no") in known, f"{module} has no --{name}"
            values.setdefault(name, []).append(value)
    files, params = values.get("gin_file", []), values.get("gin_param", [])
    for name in files:
        if name.endswith("/config.gin") or name in written:
            return  # Is there only after the command that writes it.
        assert os.path.isfile(name) or os.path.isfile(os.path.join("gin_configs", name)), name
    if files and module.startswith("drsl_tf."):
        _resolve(tuple(files), tuple(params))


@functools.cache
def _resolve(files, params):
    """Checks that files and parameters together are a whole experiment."""
    Configuration(files, params).apply(adapt)


@pytest.mark.parametrize("document", _list_documents())
def test_commands_parse(document, scratch):
    _write_files(document, scratch)
    written = set()
    listed = commands.list_commands(_read(document))
    assert listed or document not in TABLE
    for command in listed:
        for words in commands.list_calls(command):
            while "=" in words[0]:
                words = words[1:]
            if words[:3] == ["python", "-m", "data_pipelines.scan"]:
                written |= {word.removeprefix("--output=") for word in words}
            if words[0] == "python":
                _check_call(words, written)


def _list_chosen():
    chosen = os.environ.get("DRSL_TF_DOCS", "README.md")
    return _list_documents() if chosen == "all" else chosen.split(",")


def _make_environment(folder, shortening):
    """Puts a `python` in front that adds the words of the table."""
    programs = folder / ".programs"
    programs.mkdir()
    helper = os.path.join(repository.ROOT, "tests", "support", "documents", "short_python.py")
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{helper}" "$@"\n')
    python.chmod(0o755)
    paths = [str(programs), os.path.dirname(sys.executable), os.environ["PATH"]]
    return dict(
        os.environ,
        PATH=os.pathsep.join(paths),
        PYTHONPATH=os.pathsep.join(
            [repository.ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        DRSL_TF_ROOT=repository.ROOT,
        DRSL_TF_DOCS_RULES=json.dumps(list(shortening.extra)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("document", _list_chosen())
def test_commands_run(document, scratch):
    shortening = TABLE.get(document, Shortening())
    environment = _make_environment(scratch, shortening)
    _write_files(document, scratch)
    shown = commands.list_commands(_read(document))
    for old, new in shortening.replace:
        assert any(old in command for command in shown), f"{document} has no {old!r}"
        shown = [command.replace(old, new) for command in shown]
    for command in [*shortening.prepare, *shown]:
        reasons = [r for pattern, r in shortening.impossible.items() if _find(pattern, command)]
        if reasons and command not in shortening.prepare:
            print(f"not run, {reasons[0]}: {command}")
            continue
        result = subprocess.run(
            ["bash", "-e", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        report = f"{document}: {command}\nexit code {result.returncode}\n{result.stderr[-3000:]}"
        assert result.returncode == 0, report
