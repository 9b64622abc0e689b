"""Reads damaged files one after another and says what came of each; a process of its own.

    python -m tests.support.mutations.worker FOLDER COUNT READER FIRST [READER FIRST ...]

Whoever started it sees by the lines on standard output what it is at, ends it where it hangs, and
starts another after one that died.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
import warnings


def main() -> None:
    """Goes through the readers."""
    folder, count = sys.argv[1], int(sys.argv[2])
    jobs = list(zip(sys.argv[3::2], map(int, sys.argv[4::2])))
    # Libraries print too; what they print must not come between the lines.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    from data_pipelines.errors import UserError
    from tests.support.mutations import kinds
    from tests.support.mutations import readers

    def say(**content):
        lines.write(json.dumps(content) + "\n")

    for name, first in jobs:
        place = os.path.join(folder, name.replace(" ", "_"))
        readers.clear_folder(place)
        reader = readers.READERS[name](place)
        for path, sound in reader.seeds:
            with open(path, "wb") as file:
                file.write(sound)
            assert reader.read(path), f"{name}: a sound file is not read: {path}"
        for index in range(first, count):
            path, sound = reader.seeds[index // len(kinds.KINDS) % len(reader.seeds)]
            damaged = kinds.damage(sound, index)
            with open(path, "wb") as file:
                file.write(damaged)
            say(reader=name, index=index)
            started = time.monotonic()
            detail = ""
            try:
                outcome = "read" if reader.read(path) else "refused"
            except UserError as error:
                assert str(error)
                outcome = "refused"
            except BaseException as error:
                outcome = "crashed"
                at = traceback.extract_tb(error.__traceback__)[-1]
                detail = f"{type(error).__name__} at {os.path.basename(at.filename)}:{at.lineno}: "
                detail += " ".join(str(error).split())[:200]
            seconds = time.monotonic() - started
            with open(path, "wb") as file:
                file.write(sound)
            say(outcome=outcome, seconds=round(seconds, 4), detail=detail)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        say(done=name, peak_mb=peak)


if __name__ == "__main__":
    main()
