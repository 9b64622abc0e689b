"""Data sets of rendered streets, written atomically."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import json
import multiprocessing
import os
from collections.abc import Mapping
from typing import Any

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from data_pipelines.progress import make_progress_bar
from data_pipelines.streets import layouts
from data_pipelines.streets import renderer

STAMP = "streets.json"
_SERIAL_LIMIT = 8
"""Up to this number, scenes are rendered in this process: starting workers takes longer."""


def rendered_root(
    *,
    root: str,
    layout: str,
    style: str,
    count: int,
    size: tuple[int, int] = (128, 256),
    seed: int,
    val_count: int = 0,
) -> str:
    """Renders a data set on first use and returns its directory.

    For gin: `synthia.Synthia.root = @game/rendered.rendered_root()`. An existing directory is used
    if it was rendered with the same parameters.

    Args:
        root: directory of the data set; its parent is created if missing.
        layout: "synthia", "gta5" or "cityscapes".
        style: "game" or "camera".
        count: training scenes, indices 0 to count - 1.
        size: (H, W) in pixels.
        seed: at least 0.
        val_count: validation scenes, indices from `count` on. In "cityscapes" they are the split
            "val", in the other layouts the last by name.

    Returns:
        `root`.

    Raises:
        UserError: a parameter is out of range, the directory has other content, or it cannot be
            written.
    """
    stamp = make_stamp(
        layout=layout, style=style, count=count, size=size, seed=seed, val_count=val_count
    )
    if whole_files.is_filled(root):
        check_stamp(root, stamp)
        return root
    try:
        render_set(root, stamp)
    except UserError:
        # Another process may have rendered the same data set in the meantime.
        if not os.path.exists(os.path.join(root, STAMP)):
            raise
        check_stamp(root, stamp)
    return root


def make_stamp(
    *, layout: str, style: str, count: int, size: tuple[int, int], seed: int, val_count: int
) -> dict[str, Any]:
    """Checks the parameters of a data set and creates its stamp.

    Args:
        layout: as `rendered_root`.
        style: as `rendered_root`.
        count: as `rendered_root`.
        size: as `rendered_root`.
        seed: as `rendered_root`.
        val_count: as `rendered_root`.

    Returns:
        The parameters, which JSON can store.

    Raises:
        UserError: a parameter is out of range.
    """
    if layout not in layouts.LAYOUTS:
        raise UserError(f"layout is {layout!r}: it must be one of {', '.join(layouts.LAYOUTS)}.")
    if count < 1:
        raise UserError(f"count is {count}: at least one training scene is needed.")
    if val_count < 0:
        raise UserError(f"val_count is {val_count}: it may not be negative.")
    renderer.check_arguments(seed, 0, size, style)
    return {
        "layout": layout,
        "style": style,
        "count": int(count),
        "size": [int(n) for n in size],
        "seed": int(seed),
        "val_count": int(val_count),
        "fingerprint": renderer.FINGERPRINTS[style],
    }


def check_stamp(root: str, stamp: Mapping[str, Any]) -> None:
    """Checks that a directory was rendered with given parameters.

    Args:
        root: the directory.
        stamp: from `make_stamp`.

    Raises:
        UserError: it was rendered with other parameters, or not by this renderer.
    """
    path = os.path.join(root, STAMP)
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{root} holds files but no readable {STAMP}, so it was not rendered here: "
            "name another directory, or remove this one."
        ) from error
    differing = [
        f"{key} is {found.get(key)!r} there and {value!r} here"
        for key, value in stamp.items()
        if found.get(key) != value
    ]
    if differing:
        raise UserError(
            f"{root} was rendered with other parameters ({'; '.join(differing)}): name "
            "another directory, or remove this one so that it is rendered again."
        )


def render_set(
    root: str, stamp: Mapping[str, Any], *, workers: int | None = None, progress: bool = True
) -> None:
    """Renders a data set into a directory that is absent or empty.

    The files are written to a hidden sibling, which is renamed at the end: `root` is complete or
    absent.

    Args:
        root: the directory.
        stamp: from `make_stamp`; stored as `streets.json`.
        workers: number of processes, None for one per core; does not affect the files.
        progress: whether to show a bar on standard error.

    Raises:
        UserError: the directory is not empty or cannot be written.
    """
    root = os.path.abspath(root)
    if whole_files.is_filled(root):
        raise UserError(f"{root} is not empty: name a new directory, or empty this one first.")
    try:
        with whole_files.write_folder(root) as partial:
            _write_scenes(partial, stamp, workers, progress)
            with open(os.path.join(partial, STAMP), "w", encoding="utf-8") as stream:
                json.dump(stamp, stream, indent=2)
                stream.write("\n")
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError(
            f"{root} was not rendered, a worker process ended early: free some memory, "
            "or, if your own script renders, put its work under "
            '`if __name__ == "__main__":`.'
        ) from error
    except OSError as error:
        raise UserError(
            f"{root} could not be written ({error.strerror or error}): free some disk "
            "space or name a directory that may be written."
        ) from error


def _render_one(job):
    """Renders one scene in a worker: (image as PNG bytes, the scene)."""
    seed, index, size, style = job
    scene = renderer.render_layers(seed, index, size, style)
    return layouts.encode_image(scene.image), scene._replace(image=None)


def _write_scenes(folder, stamp, workers, progress):
    """Renders and writes every file of the data set."""
    total = stamp["count"] + stamp["val_count"]
    jobs = [(stamp["seed"], index, tuple(stamp["size"]), stamp["style"]) for index in range(total)]
    workers = min(workers or os.cpu_count() or 1, total)
    report = make_progress_bar(total, f"rendering {stamp['style']}", "scene", shown=progress)
    if workers == 1 or total <= _SERIAL_LIMIT:
        _store(folder, stamp, map(_render_one, jobs), report)
        return
    # "spawn": a fork of a process that runs TensorFlow may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            _store(folder, stamp, pool.map(_render_one, jobs, chunksize=2), report)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _store(folder, stamp, results, report):
    """Writes the files of each scene as it arrives."""
    made = set()
    for index, (image, scene) in enumerate(results):
        names = layouts.file_names(stamp["layout"], index, stamp["count"])
        for name, data in zip(names, (image, layouts.encode_label(scene, stamp["layout"]))):
            path = os.path.join(folder, name)
            if os.path.dirname(path) not in made:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                made.add(os.path.dirname(path))
            with open(path, "wb") as stream:
                stream.write(data)
        report.update(1)
    report.close()
