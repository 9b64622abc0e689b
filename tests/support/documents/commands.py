"""The shell commands that a document shows, and the files that it has a reader write."""

from __future__ import annotations

import re
import shlex

# A line of an unmarked block is a command if it starts with one of these.
_PROGRAMS = (
    "cd", "curl", "docker", "for", "git", "kill", "ln", "make", "mkdir", "mv", "pip", "pytest",
    "python", "rm", "tar", "tensorboard", "unrar", "unzip", "wget",
)  # fmt: skip
_SHELLS = ("bash", "console", "sh", "shell")
_MARKS = {f"<{name}>" for name in _SHELLS}
_COMMAND = re.compile(rf"(\w+=\S* )*({'|'.join(_PROGRAMS)}|drsl-\w+)( |$)")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
_WRITTEN = re.compile(r"[Ww]rite `([\w./-]+)`:\n+```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SEPARATORS = {";", "&&", "||", "|", "&", "do", "done", "then", "fi"}


def list_commands(text: str) -> list[str]:
    """Lists the commands of a document, in order.

    Args:
        text: Markdown.

    Returns:
        Commands for a shell; lines that end in a backslash, and loops, are one command.
    """
    commands = []
    plain = _FENCE.sub(_indent, text)
    for block in _INDENTED.findall(plain + "\n"):
        lines = [line[4:] for line in block.splitlines()]
        is_shell = lines[0] in _MARKS
        commands += _join_lines(lines[is_shell:], is_shell)
    return commands


def _indent(fence):
    """Converts a fenced block to an indented one; a shell block keeps its mark."""
    margin, language, body = fence.groups()
    lines = [line[len(margin) :] for line in body.splitlines()]
    if language in _SHELLS:
        lines.insert(0, f"<{language}>")
    elif language:
        return ""
    return "\n" + "".join(f"    {line}\n" for line in lines)


def _join_lines(lines, is_shell):
    commands, held = [], []
    for line in lines:
        held.append(line.strip().removeprefix("$ "))
        depth = sum(part.startswith("for ") - (part == "done") for part in held)
        if depth > 0 or held[-1].endswith("\\"):
            continue
        text = "\n".join(held).replace("\\\n", "")
        if _COMMAND.match(text) or (is_shell and text and not text.startswith("#")):
            commands.append(text)
        held = []
    return commands


def list_written_files(text: str) -> dict[str, str]:
    """Lists the files that a document has its reader write: "Write `NAME`:" and a fenced block.

    Args:
        text: Markdown.

    Returns:
        Content by path.
    """
    return dict(_WRITTEN.findall(text))


def split_calls(command: str) -> list[list[str]]:
    """Splits a command into the calls of programs that it is made of.

    Args:
        command: one of `list_commands`.

    Returns:
        The words of each call, without redirections; variables are left as they are.
    """
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    calls: list[list[str]] = [[]]
    for word in lexer:
        if word in _SEPARATORS:
            calls.append([])
        else:
            calls[-1].append(word)
    return [call for call in calls if call]


def list_calls(command: str) -> list[list[str]]:
    """Lists the calls of a command with its loops unrolled.

    Args:
        command: one of `list_commands`.

    Returns:
        The words of each call, every value of a loop's variable in its place.
    """
    calls = split_calls(command)
    for _, name, _, *values in [words for words in calls if words[0] == "for"]:
        unrolled = [
            [re.sub(rf"\${{?{name}\b}}?", value, word) for word in words]
            for words in calls
            for value in values
        ]
        calls = [list(words) for words in dict.fromkeys(map(tuple, unrolled))]
    return [words for words in calls if words[0] != "for"]
