"""The pictures of a report: what a run made of its frames, stage by stage."""

from __future__ import annotations

import base64
import html

import numpy as np

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.figures import label_maps
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import panel_files

_OF_EVERY_STAGE = {"image": "image", "truth": "truth"}
_BY_STAGE = {
    "pseudo_label": "pseudo-label it trained on",
    "prediction": "prediction",
    "confidence": "confidence",
    "mode_map": "mode map",
}


def make_gallery(run: RunRecord) -> str:
    """Makes the gallery of one run.

    Args:
        run: the run.

    Returns:
        HTML with the pictures inside it; empty where the run keeps none.
    """
    if not run.panels:
        return ""
    frames = [_make_frame(run, frame, name) for frame, name in enumerate(run.panels["frames"])]
    return "".join(frames)


def make_legend(run: RunRecord) -> str:
    """Explains the colours of a gallery.

    Args:
        run: a run with panels.

    Returns:
        HTML.
    """
    space = get_label_space(run)
    entries = [
        _swatch([_to_hex(color)], name) for name, color in zip(space.class_names, space.palette)
    ]
    entries.append(_swatch(["#000000"], "ignored, or not selected"))
    parts = [f'<div class="legend"><b>Classes</b>{"".join(entries)}</div>']
    ramp = label_maps.color_confidence(np.linspace(0, 1, 11)[np.newaxis])[0]
    stops = ", ".join(map(_to_hex, ramp))
    parts.append(
        '<div class="legend"><b>Confidence</b><span>0 %</span>'
        f'<span class="ramp" style="background: linear-gradient(to right, {stops})"></span>'
        "<span>100 %</span></div>"
    )
    count = run.panels["modes_per_class"]
    if count > 1:
        entries = [_swatch(shades, name) for name, shades in zip(*list_mode_shades(run))]
        parts.append(
            '<div class="legend"><b>Mode map</b><span>shades of the predicted class, one for each '
            f"mode, from mode 0 to mode {count - 1}:</span>{''.join(entries)}</div>"
        )
    return "".join(parts)


def list_mode_shades(run: RunRecord):
    """Lists the colours of modes, as the mode map paints them.

    Args:
        run: a run with panels.

    Returns:
        The class names, and for each its modes' colours as "#rrggbb".
    """
    space = get_label_space(run)
    count = max(run.panels["modes_per_class"], 1)
    palette = label_maps.make_mode_palette(space, count).reshape(space.num_classes, count, 3)
    return space.class_names, [[_to_hex(color) for color in shades] for shades in palette]


def get_label_space(run: RunRecord) -> LabelSpace:
    """Gives names and colours of a run's classes.

    Args:
        run: a run with panels.

    Returns:
        A label space.
    """
    return LabelSpace(
        name=run.experiment,
        class_names=tuple(run.panels["class_names"]),
        palette=tuple(tuple(color) for color in run.panels["palette"]),
    )


def _make_frame(run, frame, name):
    stages = {stage: panel_files.list_panels(run.run_dir, frame, stage) for stage in run.rounds}
    shown = [panel for panel in _BY_STAGE if any(panel in paths for paths in stages.values())]
    fixed = "".join(
        _make_picture(stages[run.rounds[0]][panel], title, f"{title} of {name}", caption=True)
        for panel, title in _OF_EVERY_STAGE.items()
        if panel in stages[run.rounds[0]]
    )
    head = "".join(f"<th>{html.escape(_BY_STAGE[panel])}</th>" for panel in shown)
    rows: list[str] = []
    for stage, paths in stages.items():
        title = f"round {stage}" if stage else "source only"
        cells = "".join(
            "<td>"
            + (
                _make_picture(paths[panel], title, f"{_BY_STAGE[panel]} of {name}, {title}")
                if panel in paths
                else '<span class="none">none</span>'
            )
            + "</td>"
            for panel in shown
        )
        rows.append(f'<tr><th scope="row">{title}</th>{cells}</tr>')
    return (
        f'<div class="frame"><h4>{html.escape(name)}</h4><div class="fixed">{fixed}</div>'
        f'<table class="panels"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _make_picture(path, title, description, caption=False):
    with open(path, "rb") as file:
        data = base64.b64encode(file.read()).decode("ascii")
    image = f'<img alt="{html.escape(description)}" src="data:image/png;base64,{data}">'
    if not caption:
        return image
    return f"<figure>{image}<figcaption>{html.escape(title)}</figcaption></figure>"


def _swatch(colors, name):
    boxes = "".join(f'<i style="background: {color}"></i>' for color in colors)
    return f'<span class="swatch">{boxes}{html.escape(name)}</span>'


def _to_hex(color):
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in color))
