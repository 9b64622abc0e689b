"""What a program tells the disk, in order: which files would outlive a power cut."""

import contextlib
import os
from unittest import mock


class DiskLog:
    """Writes down every fsync and rename while it is entered."""

    def __init__(self):
        self._events = []
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        """Starts."""
        fsync, replace, rename = os.fsync, os.replace, os.rename

        def log_sync(descriptor):
            self._events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
            fsync(descriptor)

        def log_rename(call):
            def move(source, target):
                call(source, target)
                names = [os.path.abspath(os.fspath(path)) for path in (source, target)]
                self._events.append(("rename", *names))

            return move

        for name, call in (
            ("fsync", log_sync),
            ("replace", log_rename(replace)),
            ("rename", log_rename(rename)),
        ):
            self._stack.enter_context(mock.patch.object(os, name, call))
        return self

    def __exit__(self, *unused):
        """Ends."""
        self._stack.close()

    def list_unsafe(self, folder):
        """Lists the files under a folder that a power cut could have torn or lost.

        A safe one was synced, renamed, and then the folder that has the new name was synced; the
        same of a folder that it was renamed with.
        """
        found = []
        for parent, _, names in os.walk(folder):
            found += [os.path.join(parent, name) for name in names]
        return [path for path in found if not self._is_safe(os.path.realpath(path))]

    def _is_safe(self, path):
        renamed = False
        end = len(self._events)
        for place in reversed(range(len(self._events))):
            kind, *names = self._events[place]
            if kind == "rename" and (path + "/").startswith(names[1] + "/"):
                if ("sync", os.path.dirname(names[1])) not in self._events[place:end]:
                    return False
                path = names[0] + path[len(names[1]) :]
                renamed, end = True, place
        return renamed and ("sync", path) in self._events[:end]
