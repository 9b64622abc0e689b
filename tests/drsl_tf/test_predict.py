"""Prediction of folders: names, sizes, skipped files, tiles, and what Cityscapes' scripts read."""

import functools
import logging
import os
import struct
import sys
import types

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from PIL import Image

from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from drsl_tf.experiments import exporting
from drsl_tf.figures import label_maps
from drsl_tf.serving import folder_prediction
from drsl_tf.serving import georeference
from drsl_tf.serving import input_files
from drsl_tf.serving import model_description
from drsl_tf.serving import output_files
from drsl_tf.serving import tiling
from drsl_tf.serving import video
from drsl_tf.serving.predictor import Predictor
from tests.support import calls
from tests.support import data_sets
from tests.support import geotiffs
from tests.support import run_dirs

_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Exports an untrained run."""
    folder = tmp_path_factory.mktemp("models")
    run_dir, _ = run_dirs.make_run(folder)
    exporting.export_run(run_dir, str(folder / "model"))
    return str(folder / "model")


def _draw_image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].astype(np.uint8)


def _save(path, height, width, seed=0, **options):
    os.makedirs(path.parent, exist_ok=True)
    Image.fromarray(_draw_image(height, width, seed)).save(path, **options)


def _list(folder):
    return sorted(
        os.path.relpath(os.path.join(root, name), folder)
        for root, _, names in os.walk(folder)
        for name in names
    )


def _read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_names_folders_and_sizes_are_kept(model, tmp_path):
    photos = tmp_path / "photos"
    for index, (name, size) in enumerate(
        {
            "a.png": (40, 56),
            "b.png": (40, 56),
            "c.png": (33, 75),
            "deep/er/a.JPG": (32, 64),
            "twin.png": (32, 32),
            "twin.bmp": (32, 48),
            "dotted.name.png": (32, 32),
        }.items()
    ):
        _save(photos / name, *size, seed=index)
    (photos / "notes.txt").write_text("no image")
    output = photos / "labelled"  # Within the input: its files are no inputs of a second time.
    for _ in range(2):
        skipped = folder_prediction.predict_files(
            model, str(photos), str(output), kinds=output_files.KINDS, batch_size=2
        )
        assert skipped == {}
    names = ["a", "b", "c", "deep/er/a", "dotted.name", "twin.bmp", "twin.png"]
    kinds = sorted(output_files.KINDS)
    assert _list(output) == [f"{kind}/{name}.png" for kind in kinds for name in names]
    predictor = Predictor(model)
    for name, source in (("c", "c.png"), ("deep/er/a", "deep/er/a.JPG"), ("b", "b.png")):
        image = decoding.decode_rgb((photos / source).read_bytes())
        label, confidence = predictor.predict(image[np.newaxis])
        color = label_maps.color_label_map(label[0], predictor.label_space)
        assert np.mean(_read(output / "ids" / f"{name}.png") == label[0]) >= 0.9999
        assert np.mean(_read(output / "color" / f"{name}.png") == color) >= 0.9999
        shown = _read(output / "overlay" / f"{name}.png").astype(float)
        assert np.mean(np.abs(shown - (image / 2 + color / 2)) <= 1) >= 0.999
        grey = _read(output / "confidence" / f"{name}.png")
        np.testing.assert_allclose(grey / 255, confidence[0], atol=0.01)


def test_globs_and_single_files(tmp_path):
    for name in ("x/1.png", "x/y/2.png", "x/y/3.jpg"):
        _save(tmp_path / name, 8, 8)

    def find(pattern):
        inputs = input_files.find_inputs(str(tmp_path / pattern))
        return [source.name for source in inputs]

    assert find("x") == ["1", "y/2", "y/3"]
    assert find("x/**/*.png") == ["1", "y/2"]
    assert find("*/y/*") == ["x/y/2", "x/y/3"]
    assert find("x/y/3.jpg") == ["3"]
    with pytest.raises(UserError, match="no image"):
        find("z*")


def test_outputs_beside_their_inputs_are_left_out(model, tmp_path, monkeypatch):
    _save(tmp_path / "1.png", 8, 8)
    _save(tmp_path / "more" / "2.png", 8, 8)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert folder_prediction.predict_files(model, ".", ".") == {}
    assert _list(".") == ["1.png", "ids/1.png", "ids/more/2.png", "more/2.png"]


def test_names_of_several_inputs_stay_apart(tmp_path):
    for name in ("cam/left/1.png", "cam/right/1.png", "cam/right/2.png", "cam/right/2.jpg"):
        _save(tmp_path / name, 8, 8)

    def find(*patterns):
        patterns = [str(tmp_path / pattern) for pattern in patterns]
        return [source.name for source in input_files.find_inputs(patterns)]

    assert find("cam/right") == ["1", "2.jpg", "2.png"]
    assert find("cam/left", "cam/right") == ["left/1", "right/1", "right/2.jpg", "right/2.png"]
    # A file of two inputs is predicted once; files of one folder need no folder in their names.
    assert find("cam", "cam/left", "cam/*/1.png") == find("cam")
    assert find("cam/right/1.png", "cam/right/2.jpg") == ["1", "2"]
    # A stem that is another's name, and a video beside a folder of its frames.
    for name in ("odd/1.png", "odd/1.bmp", "odd/1.bmp.png", "odd/drive/0.png"):
        _save(tmp_path / name, 8, 8)
    (tmp_path / "odd/drive.mp4").touch()
    assert find("odd") == ["1.bmp", "1.bmp.png", "1.png", "drive.mp4", "drive/0"]
    with pytest.raises(UserError, match="absent leads to no image"):
        find("cam/left", "absent")


def test_orientation_is_honoured(model, tmp_path):
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    _save(tmp_path / "in/turned.jpg", 32, 64, exif=exif)
    # Earlier outputs of this name are replaced, others are left.
    _save(tmp_path / "out/ids/turned.png", 8, 8)
    _save(tmp_path / "out/ids/other.png", 8, 8)
    folder_prediction.predict_files(model, str(tmp_path / "in"), str(tmp_path / "out"))
    assert _read(tmp_path / "out/ids/turned.png").shape == (64, 32)
    assert os.listdir(tmp_path / "out") == ["ids"]
    assert sorted(os.listdir(tmp_path / "out/ids")) == ["other.png", "turned.png"]


def test_the_command_takes_several_inputs_and_names_what_it_skips(model, tmp_path):
    photos, others = tmp_path / "photos", tmp_path / "others"
    _save(photos / "good.png", 32, 32)
    _save(photos / "last.png", 32, 32)
    _save(photos / "large.png", 80, 80)
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut.png").write_bytes((photos / "large.png").read_bytes()[:-500])
    (photos / "text.jpg").write_text("no picture")
    (photos / "phone.HEIC").write_bytes(b"\0\0\0\x1cftypheic" + bytes(100))
    _save(others / "good.png", 32, 32)
    _save(tmp_path / "a,b.png", 32, 32)
    inputs = [f"--input={photos},{others}", f"--input={tmp_path / 'a,b.png'}"]
    arguments = [f"--model={model}", *inputs, f"--output={tmp_path / 'out'}"]
    result = calls.call_python("-m", "drsl_tf.predict", *arguments, "--max_pixels=6000")
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    for name in ("empty.png", "cut.png", "text.jpg", "large.png", "phone.HEIC"):
        assert f"skipped: {photos / name} " in result.stderr
    names = ["a,b.png", "others/good.png", "photos/good.png", "photos/last.png"]
    assert _list(tmp_path / "out") == [f"ids/{name}" for name in names]


def _predict_geotiff(model, folder, data):
    (folder / "in").mkdir()
    (folder / "in/field.tif").write_bytes(data)
    folder_prediction.predict_files(
        model, str(folder / "in"), str(folder / "out"), kinds=["ids", "color"]
    )


@pytest.mark.parametrize("with_points", [False, True])
def test_label_maps_of_geotiffs_lie_where_the_images_do(model, tmp_path, with_points):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
    image = _draw_image(40, 56)
    points = [
        rasterio.control.GroundControlPoint(row, column, 500 + column, 900 - row)
        for row, column in ((0, 0), (0, 56), (40, 0))
    ]
    place = {"gcps": points, "transform": None} if with_points else {}
    data = geotiffs.encode_geotiff(np.moveaxis(image, -1, 0), **place)
    _predict_geotiff(model, tmp_path, data)
    assert _list(tmp_path / "out") == ["color/field.tif", "ids/field.tif"]
    with (
        rasterio.open(tmp_path / "in/field.tif") as source,
        rasterio.open(tmp_path / "out/ids/field.tif") as result,
    ):
        assert result.transform == source.transform
        if with_points:
            (found, crs), (expected, _) = result.gcps, source.gcps
            assert [(p.row, p.col, p.x, p.y) for p in found] == [
                (p.row, p.col, p.x, p.y) for p in expected
            ]
        else:
            crs = result.crs
        assert crs == rasterio.crs.CRS.from_string(geotiffs.CRS)
        label, _ = Predictor(model).predict(image[np.newaxis])
        assert result.dtypes == ("uint8",) and np.mean(result.read(1) == label[0]) >= 0.9999
    color = label_maps.color_label_map(label[0], Predictor(model).label_space)
    assert np.mean(_read(tmp_path / "out/color/field.tif") == color) >= 0.9999


def test_pixels_that_are_turned_lose_the_georeference_with_a_warning(tmp_path, caplog):
    pytest.importorskip("rasterio", reason="needs the extra geo")
    path = tmp_path / "field.tif"
    path.write_bytes(geotiffs.encode_geotiff(np.moveaxis(_draw_image(32, 32), -1, 0)))
    assert georeference.read_georeference(str(path)) is not None
    with Image.open(path) as picture:
        picture.load()
        tags = picture.tag_v2
        tags[274] = 6
        picture.save(tmp_path / "turned.tif", tiffinfo=tags)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert georeference.read_georeference(str(tmp_path / "turned.tif")) is None
    assert "turned.tif: its label map is written without georeference" in caplog.text


def test_without_rasterio_a_lost_georeference_is_said(model, tmp_path, monkeypatch, caplog):
    pytest.importorskip("rasterio", reason="needs the extra geo")
    data = geotiffs.encode_geotiff(np.moveaxis(_draw_image(32, 32), -1, 0))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with caplog.at_level(logging.WARNING, logger="absl"):
        _predict_geotiff(model, tmp_path, data)
    assert _list(tmp_path / "out") == ["color/field.png", "ids/field.png"]
    assert "field.tif is a GeoTIFF" in caplog.text and "drsl_tf[geo]" in caplog.text


def test_deep_images_are_named_or_scaled(model, tmp_path, caplog):
    image = _draw_image(32, 32)
    (tmp_path / "deep.png").write_bytes(data_sets.encode_uint16(image.astype(np.uint16) * 4))
    predict = functools.partial(folder_prediction.predict_files, model, str(tmp_path / "deep.png"))
    with caplog.at_level(logging.WARNING, logger="absl"):
        predict(str(tmp_path / "dark"))
    largest = 4 * int(image.max())
    assert f"deep.png has 16 bits a channel, but its largest value is {largest}" in caplog.text
    predict(str(tmp_path / "out"), max_value=1020)
    label, _ = Predictor(model).predict(image[np.newaxis])
    assert np.mean(_read(tmp_path / "out/ids/deep.png") == label[0]) >= 0.9999


@pytest.mark.parametrize(
    "options, words",
    [
        ({"kinds": ["ids", "colour"]}, "color"),
        ({"batch_size": 0}, "batch_size"),
        ({"tile": (64, 64), "overlap": 40}, "overlap"),
        ({"overlap": -1}, "overlap"),
        ({"format_name": "cityscapes"}, "aachen"),
        ({"format_name": "cityscapes", "ids": "native"}, "leave out --ids=native"),
        ({"max_value": 0}, "max_value"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(model, tmp_path, options, words):
    _save(tmp_path / "a.png", 32, 32)
    with pytest.raises(UserError, match=words):
        folder_prediction.predict_files(model, str(tmp_path), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_what_is_no_exported_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="drsl_tf.export"):
        Predictor(str(tmp_path / "absent"))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 96, 127, 128, 129, 500])
@pytest.mark.parametrize("overlap", [0, 10, 32])
def test_tiles_share_out_an_axis(length, overlap):
    spans = tiling.split_axis(length, 64, overlap)
    assert spans[0].first == 0 and spans[-1].last == length
    for span, following in zip(spans, spans[1:]):
        assert span.last == following.first
        assert span.stop - following.start >= overlap
    for span in spans:
        assert span.start % 32 == 0 and span.stop - span.start <= 64
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length


def test_tiles_of_a_local_function_give_the_whole():
    def predict(images):
        grey = images.mean(axis=-1)
        return (grey / 16).astype(np.uint8), (grey / 255).astype(np.float32)

    image = _draw_image(150, 210)
    label, confidence = tiling.predict_in_tiles(predict, image, (64, 96), 16)
    np.testing.assert_array_equal(label, predict(image)[0])
    np.testing.assert_array_equal(confidence, predict(image)[1])


def test_tiles_that_overlap_enough_give_the_networks_whole(model):
    predictor = Predictor(model)
    image = _draw_image(32, 1100)
    whole, _ = predictor.predict(image[np.newaxis])
    # Half of the overlap is more than the network sees to either side.
    tiled, _ = tiling.predict_in_tiles(predictor.predict, image, (32, 640), 448)
    assert np.mean(tiled == whole[0]) >= 0.9999


def test_large_images_are_tiled(model, tmp_path, monkeypatch):
    _save(tmp_path / "in/large.png", 96, 200)
    _save(tmp_path / "in/small.png", 64, 64)
    shapes = []
    predict = Predictor.predict
    monkeypatch.setattr(
        Predictor, "predict", lambda self, x: shapes.append(x.shape) or predict(self, x)
    )
    folder_prediction.predict_files(
        model, str(tmp_path / "in"), str(tmp_path / "out"), tile=(64, 96), overlap=16
    )
    assert max(shape[1] for shape in shapes) <= 64 and max(shape[2] for shape in shapes) <= 96
    assert _read(tmp_path / "out/ids/large.png").shape == (96, 200)


def test_cityscapes_own_evaluator_reads_the_predictions(model, tmp_path, monkeypatch):
    root = run_dirs.render_target(tmp_path, val_count=4)
    folder_prediction.predict_files(
        model,
        os.path.join(root, "leftImg8bit", "val"),
        str(tmp_path / "out"),
        kinds=["ids", "color"],
        format_name="cityscapes",
    )
    assert all(
        name.endswith(("_pred_labelIds.png", "_pred_color.png")) for name in _list(tmp_path / "out")
    )
    domain = Cityscapes(root=root)
    table = output_files.make_label_id_table(domain.label_space)
    monkeypatch.setattr(
        evalPixelLevelSemanticLabeling.args, "predictionPath", str(tmp_path / "out" / "ids")
    )
    monkeypatch.setattr(evalPixelLevelSemanticLabeling.args, "predictionWalk", None)
    predictor = Predictor(model)
    for pair in domain.list_pairs("val"):
        found = evalPixelLevelSemanticLabeling.getPrediction(
            evalPixelLevelSemanticLabeling.args, pair.label_path
        )
        label, _ = predictor.predict(domain.read_image(pair.image_path)[np.newaxis])
        assert np.mean(_read(found) == table[label[0]]) >= 0.9999


@pytest.mark.parametrize(
    "make", [label_spaces.cityscapes19, label_spaces.synthia16, label_spaces.cityscapes13]
)
def test_label_ids_lead_back_to_the_classes(make):
    space = make()
    back = label_spaces.compose(
        label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19,
        label_spaces.convert(label_spaces.cityscapes19(), space),
    )
    table = output_files.make_label_id_table(space)
    assert [back[int(table[index])] for index in range(space.num_classes)] == list(
        range(space.num_classes)
    )
    with pytest.raises(UserError, match="pavement"):
        output_files.make_label_id_table(label_spaces.camvid11())


def test_native_ids_are_those_of_the_label_files(model, tmp_path):
    _save(tmp_path / "a.png", 40, 56)
    output = tmp_path / "out"
    folder_prediction.predict_files(model, str(tmp_path / "a.png"), str(output), ids="native")
    label, _ = Predictor(model).predict(_draw_image(40, 56)[np.newaxis])
    table = output_files.make_label_id_table(label_spaces.cityscapes19())
    written = _read(output / "ids/a.png")
    assert written.dtype == np.uint8 and np.mean(written == table[label[0]]) >= 0.9999


def _describe(id_table):
    space = label_spaces.custom(name="mine", class_names=["road", "roof"])
    return model_description.ModelDescription(space, None, id_table)


def test_of_several_native_ids_the_smallest_is_written_and_said(tmp_path, caplog):
    table = {9: 0, 7: 0, 300: 1, 0: 255}
    with caplog.at_level(logging.WARNING, logger="absl"):
        native = output_files.choose_native_ids("m", _describe(table))
    assert "road: 7 of 7, 9" in caplog.text and "roof" not in caplog.text
    writer = output_files.PredictionWriter(
        str(tmp_path), ["ids"], _describe(table).label_space, native_ids=native
    )
    label = np.array([[0, 1], [1, 1]], np.uint8)
    frame = input_files.Frame("a", np.zeros((2, 2, 3), np.uint8))
    writer.write(frame, label, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(_read(tmp_path / "ids/a.png"), [[7, 300], [300, 300]])


@pytest.mark.parametrize(
    "table, words", [(None, "Export the run again"), ({5: 0, 6: 255}, "no id for roof")]
)
def test_native_ids_need_a_whole_table(table, words):
    with pytest.raises(UserError, match=words):
        output_files.choose_native_ids("m", _describe(table))


class _Capture:
    """Stands for OpenCV's reader: three frames, blue, green and red in its BGR order."""

    def __init__(self, path):
        self._left = [] if os.path.getsize(path) == 0 else [0, 1, 2]

    def set(self, name, value):
        assert (name, value) == ("auto", 0)

    def get(self, name):
        return {"meta": 90.0, "fps": 12.5}[name]

    def read(self):
        if not self._left:
            return False, None
        frame = np.zeros((32, 48, 3), np.uint8)
        frame[..., self._left.pop(0)] = 255
        return True, frame

    def release(self):
        pass


_OPENCV = types.SimpleNamespace(
    VideoCapture=_Capture,
    CAP_PROP_ORIENTATION_AUTO="auto",
    CAP_PROP_ORIENTATION_META="meta",
    CAP_PROP_FPS="fps",
)


def test_videos_are_predicted_frame_by_frame(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", _OPENCV)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/drive.mp4").write_bytes(b"frames")
    (tmp_path / "in/empty.avi").write_bytes(b"")
    _save(tmp_path / "in/photo.png", 32, 48)
    skipped = folder_prediction.predict_files(model, str(tmp_path / "in"), str(tmp_path / "out"))
    assert list(skipped) == [str(tmp_path / "in/empty.avi")]
    frames = [f"ids/drive/{index:06d}.png" for index in range(3)]
    assert _list(tmp_path / "out") == [*frames, "ids/photo.png"]
    frames = list(video.iterate_frames(tmp_path / "in/drive.mp4"))
    assert {(image.shape, rate) for image, rate in frames} == {((48, 32, 3), 12.5)}
    colors = [image[0, 0].tolist() for image, _ in frames]
    assert colors == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]


# The matrix of an MP4's track, by the degrees that a player turns it clockwise.
_MATRICES = {
    0: (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000),
    90: (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),
    180: (-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000),
    270: (0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000),
}


def _write_video(path, image, degrees, count=5):
    writer = video.VideoWriter(str(path), 12.0, image.shape[:2])
    for _ in range(count):
        writer.write(image)
    writer.close()
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", *_MATRICES[degrees])
    path.write_bytes(content)


@pytest.mark.parametrize("degrees", _MATRICES)
def test_the_overlay_of_a_video_is_a_video_upright(model, tmp_path, degrees):
    pytest.importorskip("cv2", reason="needs the extra video")
    # A codec keeps flat areas; its width is odd, which the codec does not take.
    image = np.zeros((64, 97, 3), np.uint8)
    image[:32, :48] = (240, 40, 40)
    (tmp_path / "in").mkdir()
    _write_video(tmp_path / "in/phone.mp4", image, degrees)
    _write_video(tmp_path / "in/twice.mp4", image, degrees, count=2)
    output = tmp_path / "out"
    folder_prediction.predict_files(
        model, str(tmp_path / "in"), str(output), kinds=["ids", "overlay"], batch_size=3
    )
    videos = ["overlay/phone.mp4", "overlay/twice.mp4"]
    assert [name for name in _list(output) if name.startswith("overlay")] == videos
    frames = list(video.iterate_frames(str(output / videos[0])))
    label = _read(output / "ids/phone/000004.png")
    color = label_maps.color_label_map(label, Predictor(model).label_space)
    padded = np.pad(image, [(0, 0), (0, 1), (0, 0)], mode="edge")
    upright = np.rot90(padded, -degrees // 90)
    assert label.shape == upright.shape[:2]
    read, _ = next(video.iterate_frames(str(tmp_path / "in/phone.mp4")))
    assert np.abs(read.astype(int) - upright).mean() < 4
    assert len(frames) == 5 and {rate for _, rate in frames} == {12.0}
    assert len(list(video.iterate_frames(str(output / videos[1])))) == 2
    error = np.abs(frames[4][0] - (upright / 2 + color / 2))
    assert np.median(error) < 8 and frames[4][0].shape == upright.shape


def test_a_missing_opencv_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "drive.mp4").write_bytes(b"frames")
    with pytest.raises(UserError, match=r"drsl_tf\[video\]"):
        folder_prediction.predict_files(model, str(tmp_path), str(tmp_path / "out"))


@pytest.mark.slow
def test_tflite_files_predict_too(tmp_path):
    for name, lines in (("any", []), ("fixed", ["drsl_tf.Inference.size = (32, 64)"])):
        run_dir, _ = run_dirs.make_run(tmp_path / name, lines=lines)
        path = str(tmp_path / f"{name}.tflite")
        exporting.export_run(run_dir, path, format_name="tflite")
        exporting.export_run(run_dir, str(tmp_path / name / "model"))
        images = np.stack([_draw_image(64, 128, seed) for seed in (1, 2)])
        label, confidence = Predictor(path).predict(images)
        expected, _ = Predictor(str(tmp_path / name / "model")).predict(images)
        assert label.shape == confidence.shape == (2, 64, 128)
        assert np.mean(label == expected) >= (0.999 if name == "any" else 0.7)
