"""Decoding of images and labels, and what every reader has from its base class."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_pipelines.domains import domain as domain_lib
from data_pipelines.domains.camvid import CamVid
from data_pipelines.domains.synthia import Synthia
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels import label_spaces
from tests.support import data_sets

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
IDS = np.random.default_rng(1).integers(0, 11, (6, 9), np.uint8)


def encode(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def make_png(depth, color_type, rows):
    """Writes a PNG by hand, for kinds that Pillow does not write; rows: bytes of each row."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    width = len(rows[0]) * 8 // (depth * channels)
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b"")]
    )


@pytest.fixture(name="camvid")
def make_camvid():
    return CamVid(root="nowhere")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_decode_image_keeps_rgb(camvid, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = camvid.decode_image(encode(Image.fromarray(RGB), kind, **options))
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, RGB)


def test_decode_image_makes_everything_rgb(camvid):
    picture = Image.fromarray(RGB)
    grey = np.asarray(picture.convert("L"))
    alpha = np.random.default_rng(2).integers(0, 256, (6, 9, 1), np.uint8)
    palette = picture.quantize(16)
    cases = {
        "grey": (encode(Image.fromarray(grey)), np.stack([grey] * 3, -1)),
        "alpha": (encode(Image.fromarray(np.concatenate([RGB, alpha], -1))), RGB),
        "grey with alpha": (
            encode(Image.fromarray(np.stack([grey, alpha[..., 0]], -1), "LA")),
            np.stack([grey] * 3, -1),
        ),
        "palette": (encode(palette), np.asarray(palette.convert("RGB"))),
        "one bit": (
            encode(Image.fromarray(grey > 99)),
            np.stack([(grey > 99) * np.uint8(255)] * 3, -1),
        ),
        "16-bit grey": (
            encode(Image.fromarray(grey.astype(np.uint16) * 256 + 200)),
            np.stack([grey] * 3, -1),
        ),
        "16-bit rgb": (data_sets.encode_uint16(RGB.astype(np.uint16) * 256 + 200), RGB),
    }
    for name, (data, expected) in cases.items():
        image = camvid.decode_image(data)
        assert image.shape == (6, 9, 3) and image.dtype == np.uint8, name
        np.testing.assert_array_equal(image, expected, err_msg=name)


def test_decode_image_takes_cmyk_jpeg(camvid):
    smooth = data_sets.make_image(np.random.default_rng(3), (16, 24))
    data = encode(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(camvid.decode_image(data).astype(int) - smooth).max() < 12


def test_decode_image_takes_several_pictures_in_one_jpeg(camvid):
    smooth = data_sets.make_image(np.random.default_rng(3), (16, 24))
    first, second = Image.fromarray(smooth), Image.fromarray(smooth[::-1])
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=98)
    assert np.abs(camvid.decode_image(data).astype(int) - smooth).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_image_stands_upright(camvid, orientation):
    # What undoes each orientation, from the definition of the EXIF tag.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = camvid.decode_image(encode(Image.fromarray(RGB), exif=exif))
    np.testing.assert_array_equal(image, undo(RGB))


def test_decode_image_refuses_numbers_that_are_no_colours(camvid):
    data = encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(UserError, match="32-bit"):
        camvid.decode_image(data)


def test_decode_label_reads_indices(camvid):
    palette = Image.fromarray(IDS)
    palette.putpalette([255 - value for value in range(256)] * 3)
    for picture in (Image.fromarray(IDS), palette):
        label = camvid.decode_label(encode(picture))
        assert label.dtype == np.uint8 and label.flags.writeable
        np.testing.assert_array_equal(label, IDS)
    for kind in ("BMP", "TIFF"):
        np.testing.assert_array_equal(camvid.decode_label(encode(palette, kind)), IDS)


@pytest.mark.parametrize("color_type", [0, 3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_decode_ids_of_few_bits_are_the_stored_numbers(depth, color_type):
    per_byte = 8 // depth
    numbers = np.random.default_rng(4).integers(0, 2**depth, (5, 16))
    shifts = depth * np.arange(per_byte)[::-1]
    rows = [bytes((row.reshape(-1, per_byte) << shifts).sum(1).astype(np.uint8)) for row in numbers]
    data = make_png(depth, color_type, rows)
    if color_type == 3:
        picture = Image.fromarray(numbers.astype(np.uint8))
        picture.putpalette([9 * value % 256 for value in range(3 * 2**depth)])
        data = encode(picture, bits=depth)
    np.testing.assert_array_equal(decoding.decode_ids(data), numbers)


def test_decode_label_maps_every_listed_id_and_refuses_others(camvid):
    ids = np.array([[0, 10, 255]], np.uint8)
    np.testing.assert_array_equal(camvid.decode_label(encode(Image.fromarray(ids))), ids)
    for unknown in range(11, 255):
        with pytest.raises(UserError, match=rf"1 id\(s\).*: {unknown} \(1 px\)$"):
            camvid.decode_label(encode(Image.fromarray(np.array([[0, unknown]], np.uint8))))
    everything = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(UserError, match=r"244 id\(s\).*11 \(1 px\), 12 .* and 224 more"):
        camvid.decode_label(encode(Image.fromarray(everything)))


@pytest.mark.parametrize(
    "picture, words",
    [
        (Image.fromarray(RGB), "colour picture"),
        (Image.fromarray(np.concatenate([RGB, RGB[..., :1]], -1)), "colour picture"),
        (Image.fromarray(IDS.astype(np.uint16)), "more than 8 bits"),
    ],
)
def test_decode_label_refuses_colours_and_wide_numbers(camvid, picture, words):
    with pytest.raises(UserError, match=words):
        camvid.decode_label(encode(picture))


def test_decode_label_refuses_jpeg(camvid):
    with pytest.raises(UserError, match="not a label map"):
        camvid.decode_label(encode(Image.fromarray(IDS), "JPEG"))


@pytest.mark.parametrize("size", [(40_000, 40_000), (2**31 - 1, 2**31 - 1), (9_000, 8_000)])
@pytest.mark.parametrize("reader", ["decode_image", "decode_label"])
def test_bombs_are_refused_by_their_header(reader, size):
    for domain in (CamVid(root="nowhere"), Synthia(root="nowhere")):
        deep = isinstance(domain, Synthia) and reader == "decode_label"
        data = bytearray(make_png(16, 2, [b"\0" * 12] * 2) if deep else make_png(8, 0, [b"\0\0"]))
        data[16:24] = struct.pack(">II", *size)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        with pytest.raises(UserError, match="limit|refused"):
            getattr(domain, reader)(bytes(data))


def test_max_pixels_is_the_last_size_allowed():
    data = encode(Image.fromarray(IDS))
    assert CamVid(root="nowhere", max_pixels=54).decode_label(data).shape == (6, 9)
    with pytest.raises(UserError, match="9 x 6 pixels, more than the limit of 53"):
        CamVid(root="nowhere", max_pixels=53).decode_label(data)
    with pytest.raises(UserError, match="9 x 6 pixels, more than the limit of 53"):
        CamVid(root="nowhere", max_pixels=53).decode_image(data)


def test_every_cut_of_a_file_is_an_error_or_complete(camvid):
    for data in (encode(Image.fromarray(RGB)), encode(Image.fromarray(RGB), "BMP")):
        for end in range(len(data)):
            try:
                image = camvid.decode_image(data[:end])
            except UserError:
                continue
            # Nothing but checksums and the end mark (4 + 4 + 12 bytes) may be missing.
            np.testing.assert_array_equal(image, RGB)
            assert end >= len(data) - 20


def test_read_names_the_file(tmp_path, camvid):
    whole = encode(Image.fromarray(np.random.default_rng(0).integers(0, 9, (40, 40), np.uint8)))
    cases = {
        "missing.png": None,
        "empty.png": b"",
        "text.png": b"this is no picture",
        "cut.png": whole[:-400],
    }
    for name, data in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        for read in (camvid.read_image, camvid.read_label):
            with pytest.raises(UserError) as error:
                read(str(path))
            assert str(error.value).startswith(f"{path} "), name
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="folder.png"):
        camvid.read_image(str(tmp_path / "folder.png"))


def test_read_refuses_files_larger_than_their_pixels_can_need(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.fromarray(IDS)) + b"\0" * 1000)
    with pytest.raises(UserError, match="more than the limit of 800"):
        CamVid(root="nowhere", max_pixels=100).read_image(str(path))


def test_read_does_not_wait_for_a_pipe(tmp_path, camvid):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="empty"):
        camvid.read_image(str(tmp_path / "pipe.png"))


@pytest.mark.parametrize("root", ["", None, 3])
def test_root_must_be_given(root):
    with pytest.raises(UserError, match="CamVid.root"):
        CamVid(root=root)


def test_unreachable_label_space_is_an_error():
    with pytest.raises(UserError, match="camvid11.*cityscapes19"):
        CamVid(root="nowhere", label_space=label_spaces.cityscapes19())


def test_pairs_are_sorted_tuples(tmp_path):
    data_sets.write_camvid(tmp_path, count=12)
    domain = CamVid(root=str(tmp_path))
    pairs = domain.list_pairs("train")
    assert pairs == sorted(pairs) and len(pairs) == 12
    assert domain_lib.Pair._fields == ("name", "image_path", "label_path")
    assert domain.list_pairs("train") == pairs


def test_root_may_end_with_a_slash_and_be_relative(tmp_path, monkeypatch):
    data_sets.write_camvid(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for root in ("data", "data/", "./data", str(tmp_path / "data") + "/"):
        pair = CamVid(root=root).list_pairs("train")[0]
        assert pair.name == "0001TP_000000"
        assert os.path.isfile(pair.image_path) and os.path.isfile(pair.label_path)


def test_root_may_be_below_the_home_folder(tmp_path, monkeypatch):
    data_sets.write_camvid(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    domain = CamVid(root="~/data")
    assert domain.root == str(tmp_path / "data") and len(domain.list_pairs("train")) == 2


def test_missing_label_is_named_where_it_should_be(tmp_path):
    samples = data_sets.write_camvid(tmp_path)
    os.remove(samples[1].label_path)
    pairs = CamVid(root=str(tmp_path)).list_pairs("train")
    assert pairs[1].label_path == samples[1].label_path


def test_label_without_image_is_an_orphan(tmp_path):
    samples = data_sets.write_camvid(tmp_path)
    domain = CamVid(root=str(tmp_path))
    assert domain.list_orphans("train") == []
    os.remove(samples[0].image_path)
    assert domain.list_orphans("train") == [samples[0].label_path]


def test_hidden_files_are_not_listed(tmp_path):
    samples = data_sets.write_camvid(tmp_path)
    for hidden in ("._0001TP_000000.png", ".cache/a.png"):
        data_sets.write_image(str(tmp_path / "images/train" / hidden), samples[0].image)
    assert len(CamVid(root=str(tmp_path)).list_pairs("train")) == 2


def test_loop_of_links_is_an_error(tmp_path):
    data_sets.write_camvid(tmp_path)
    os.symlink(tmp_path / "images", tmp_path / "images" / "train" / "again")
    with pytest.raises(UserError, match="link"):
        CamVid(root=str(tmp_path)).list_pairs("train")


def test_unknown_split_lists_the_known(tmp_path):
    domain = CamVid(root=str(tmp_path))
    for call in (domain.list_pairs, domain.has_labels, domain.list_orphans):
        with pytest.raises(UserError, match="'vall'.*train, val, test"):
            call("vall")


def test_empty_split_is_an_error(tmp_path):
    os.makedirs(tmp_path / "images/train")
    with pytest.raises(UserError, match="no image"):
        CamVid(root=str(tmp_path)).list_pairs("train")


@pytest.mark.parametrize(
    "parts, expected",
    [
        (("a", "b", "c"), "a/b/c"),
        (("/", "b"), "/b"),
        (("a/", "", "."), "a/"),
        (("", "b"), "b"),
        ((".", "b"), "b"),
        (("s://bucket", "b/", "/c"), "s://bucket/b/c"),
    ],
)
def test_join_path(parts, expected):
    assert files.join_path(*parts) == expected


def test_describe_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.describe_path("a/b") == str(tmp_path / "a/b")
    assert files.describe_path("s://bucket/b") == "s://bucket/b"
