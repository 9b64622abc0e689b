"""The report as a browser lays it out: whole, legible, and without a network."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_SIZE = (1280, 900)
# What the browser itself knows of the page; the copy that it opens has this script at its end.
_PROBE = """
<script>
const charts = [...document.querySelectorAll("[role=img]")].map(chart => ({
  name: chart.getAttribute("aria-label"),
  frame: chart.querySelector("svg").getBoundingClientRect(),
  texts: [...chart.querySelectorAll("text")].map(text => [text.textContent, corners(text)]),
}));
function corners(text) {  // Of the box that turns with the text.
  const { x, y, width, height } = text.getBBox();
  return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]].map(([a, b]) => {
    const point = new DOMPoint(a, b).matrixTransform(text.getScreenCTM());
    return [point.x, point.y];
  });
}
const probe = document.createElement("pre");
probe.id = "probe";
probe.textContent = JSON.stringify({
  charts,
  blank: [...document.images].filter(image => !image.naturalWidth).length,
  images: document.images.length,
  fetched: performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("data:")),
  overflow: document.documentElement.scrollWidth - window.innerWidth,
});
document.body.appendChild(probe);
</script>
"""


@pytest.fixture(scope="module")
def layout(report_path, tmp_path_factory):
    """Opens the page in a browser that can reach no host; gives what it measured."""
    if _CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "probed.html"
    page.write_text(report_path.read_text(encoding="utf-8") + _PROBE, encoding="utf-8")
    done = subprocess.run(
        [
            _CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-component-update",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={_SIZE[0]},{_SIZE[1]}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(text)


def test_every_picture_shows_and_nothing_is_fetched(layout, report_path):
    assert layout["images"] == report_path.read_text(encoding="utf-8").count("<img ") > 0
    assert layout["blank"] == 0
    assert layout["fetched"] == []


def test_the_page_needs_no_scrolling_to_the_side(layout):
    assert layout["overflow"] <= 0


@pytest.mark.slow
def test_no_text_of_a_chart_covers_another_or_leaves_it(layout):
    charts = [chart for chart in layout["charts"] if chart["texts"]]
    assert charts
    for chart in charts:
        frame = chart["frame"]
        low = np.array([frame["left"], frame["top"]]) - 1
        high = np.array([frame["right"], frame["bottom"]]) + 1
        boxes = [(text, np.array(box)) for text, box in chart["texts"] if text.strip()]
        for index, (text, box) in enumerate(boxes):
            assert (box >= low).all() and (box <= high).all(), (chart["name"], text)
            for other, other_box in boxes[:index]:
                # Line boxes are taller than their letters.
                assert _measure_overlap(box, other_box) <= 4, (chart["name"], text, other)


def _measure_overlap(first, second):
    """Depth in pixels to which two rectangles, (4, 2) corners in order, reach into each other."""
    depths = []
    for box in (first, second):
        for start, end in ((0, 1), (1, 2)):
            axis = (box[end] - box[start]) / np.linalg.norm(box[end] - box[start])
            a, b = first @ axis, second @ axis
            depths.append(min(a.max(), b.max()) - max(a.min(), b.min()))
    return min(depths)
