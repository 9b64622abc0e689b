"""Images of more than 8 bits, of more than three bands, and of phones: read, or named."""

import io
import logging
import sys

import numpy as np
import pytest
from PIL import Image
from PIL import features

from data_pipelines.auditing import audit
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import remarks as remarks_of_decoders
from tests.support import calls
from tests.support import data_sets
from tests.support import geotiffs

_ORIENTATION = 0x0112


def _draw_samples(top, channels=3, seed=0):
    samples = np.random.default_rng(seed).integers(0, top + 1, (20, 24, channels)).astype(np.uint16)
    samples[0, 0] = top
    return samples


def _encode_grey(samples, kind):
    stream = io.BytesIO()
    Image.fromarray(samples[..., 0]).save(stream, kind)
    return stream.getvalue()


def _encode_bands(samples, **profile):
    pytest.importorskip("rasterio", reason="needs the extra geo")
    return geotiffs.encode_geotiff(np.moveaxis(samples, -1, 0), **profile)


def _decode(data, max_value=None):
    with remarks_of_decoders.collect() as remarks:
        return decoding.decode_rgb(data, max_value=max_value), remarks


# Each kind of 16-bit file is read by another path.
_ENCODERS = {
    "grey PNG": lambda samples: _encode_grey(samples, "PNG"),
    "grey TIFF": lambda samples: _encode_grey(samples, "TIFF"),
    "RGB PNG": data_sets.encode_uint16,
    "RGB TIFF": lambda samples: _encode_bands(samples, photometric="RGB"),
    "big-endian LZW": lambda samples: _encode_bands(
        samples, photometric="RGB", compress="lzw", predictor=2, ENDIANNESS="BIG"
    ),
    "planar": lambda samples: _encode_bands(samples, photometric="RGB", interleave="band"),
    "bands": lambda samples: _encode_bands(samples, photometric="MINISBLACK"),
}


@pytest.mark.parametrize("kind", _ENCODERS)
def test_deep_images_are_scaled_by_max_value(kind):
    samples = _draw_samples(4095)
    data = _ENCODERS[kind](samples)
    expected = samples[..., :1].repeat(3, -1) if "grey" in kind else samples
    dark, remarks = _decode(data)
    np.testing.assert_array_equal(dark, expected >> 8)
    assert len(remarks) == 1 and "largest value is 4095" in remarks[0]
    assert "set max_value to 4095" in remarks[0]
    image, remarks = _decode(data, 4095)
    np.testing.assert_array_equal(image, np.round(expected * (255 / 4095)))
    assert remarks == []
    image, remarks = _decode(data, 1023)
    assert image.max() == 255 and "up to 4095" in remarks[0]


def test_images_that_use_their_depth_need_no_remark():
    samples = _draw_samples(65535)
    image, remarks = _decode(data_sets.encode_uint16(samples))
    np.testing.assert_array_equal(image, samples >> 8)
    assert remarks == []
    black = data_sets.encode_uint16(np.zeros((4, 4, 3), np.uint16))
    image, remarks = _decode(black)
    assert not image.any() and remarks == []
    eight = _encode_grey(np.full((4, 4, 1), 3, np.uint8), "PNG")
    image, remarks = _decode(eight, 4095)
    assert image.max() == 3 and remarks == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("count, named", [(3, False), (4, True), (8, True)])
def test_bands_that_are_no_colours_are_named(dtype, count, named):
    samples = _draw_samples(255, count).astype(dtype) << 8 * (dtype().itemsize - 1)
    data = _encode_bands(samples, photometric="RGB" if count < 5 else "MINISBLACK")
    image, remarks = _decode(data)
    np.testing.assert_array_equal(image, _draw_samples(255, count)[..., :3])
    assert [f"has {count} bands" in remark for remark in remarks] == [True] * named


def test_bands_need_rasterio(monkeypatch):
    data = _encode_bands(_draw_samples(255, 8), photometric="MINISBLACK")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r"drsl_tf\[geo\]"):
        decoding.decode_rgb(data)


def test_floats_are_no_colours():
    data = _encode_bands(_draw_samples(255).astype(np.float32))
    with pytest.raises(UserError, match="float32"):
        decoding.decode_rgb(data)


def _encode_phone(kind, orientation=1):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, 24:] = (250, 200, 10)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    Image.fromarray(image).save(stream, kind, exif=exif, quality=95)
    return stream.getvalue(), image


def test_pillows_own_limit_is_named_by_every_reader(monkeypatch):
    data = _encode_grey(_draw_samples(255), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many.
    for read in (decoding.decode_rgb, decoding.decode_mask, decoding.read_picture_header):
        with pytest.raises(UserError, match="whatever max_pixels is; cut it into parts"):
            read(data)


def test_heic_is_read_where_its_codec_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heif")
    pillow_heif.register_heif_opener()
    data, image = _encode_phone("HEIF")
    assert np.abs(decoding.decode_rgb(data).astype(int) - image).mean() < 3
    assert decoding.read_picture_header(data)[:3] == ("heif", 32, 48)
    with pytest.raises(UserError, match="limit of 100"):
        decoding.decode_rgb(data, 100)
    with pytest.raises(UserError, match="picture"):
        decoding.decode_rgb(data[: len(data) // 2])


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that reads AVIF")
def test_avif_is_read_upright():
    data, image = _encode_phone("AVIF", orientation=6)
    upright = np.rot90(image, -1)
    assert np.abs(decoding.decode_rgb(data).astype(int) - upright).mean() < 3


@pytest.fixture
def without_heif(monkeypatch):
    """No codec of HEIC, as where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.list_formats.cache_clear()
    yield
    decoding.list_formats.cache_clear()


_HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)


def _write_photos(root, count, heic):
    for index in range(count):
        data_sets.write_image(root / "images" / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
        data_sets.write_image(root / "masks" / f"{index}.png", np.zeros((8, 8), np.uint8))
    for index in range(heic):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "images" / f"phone{index}.HEIC").write_bytes(_HEIC)
        data_sets.write_image(root / "masks" / f"phone{index}.png", np.zeros((8, 8), np.uint8))
    return Folder(root=str(root), masks="masks", class_names=["a", "b"], splits={"all": ""})


def test_without_the_codec_heic_is_named_and_left_out(tmp_path, without_heif, caplog):
    with pytest.raises(UserError, match=r"HEIC picture.*drsl_tf\[heif\]"):
        decoding.decode_rgb(_HEIC)
    domain = _write_photos(tmp_path / "part", 2, 12)
    with caplog.at_level(logging.WARNING, logger="absl"):
        report = audit.audit_split(domain, "all", stamp_dir=str(tmp_path / "stamps"))
    assert [pair.name for pair in report.pairs] == ["0", "1"]
    assert len(report.unread) == 12 and report.skipped == []
    assert "12 of 14 images" in caplog.text and "phone0.HEIC is a HEIC" in caplog.text
    with pytest.raises(UserError, match="none is left"):
        audit.audit_split(_write_photos(tmp_path / "all", 0, 2), "all")


@pytest.mark.slow
def test_the_audit_command_tells_what_it_left_out(tmp_path):
    _write_photos(tmp_path, 2, 1)
    block = "import sys; sys.modules['pillow_heif'] = None; from data_pipelines import audit"
    flags = ["--domain=folder", f"--root={tmp_path}", "--split=all", "--splits=all="]
    more = ["--masks=masks", "--class_names=a,b"]
    result = calls.call_python("-c", f"{block}; audit.run()", *flags, *more)
    assert result.returncode == 3, result.stderr
    assert "1 images without a codec" in result.stdout and "phone0.HEIC" in result.stderr


def test_the_audit_names_images_that_lose_their_values(tmp_path, caplog):
    domain = _write_photos(tmp_path, 1, 0)
    for index in range(8):
        data = data_sets.encode_uint16(_draw_samples(1023))
        (tmp_path / "images" / f"deep{index}.png").write_bytes(data)
        data_sets.write_image(tmp_path / "masks" / f"deep{index}.png", np.zeros((20, 24), "u1"))
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert len(audit.audit_split(domain, "all").pairs) == 9
    assert "deep0.png has 16 bits a channel, but its largest value is 1023" in caplog.text
    assert "3 more files have such remarks, 8 in all" in caplog.text
    caplog.clear()
    scaled = Folder(root=str(tmp_path), class_names=["a", "b"], splits={"all": ""}, max_value=1023)
    with caplog.at_level(logging.WARNING, logger="absl"):
        audit.audit_split(scaled, "all")
    assert caplog.text == ""
    assert scaled.read_image(str(tmp_path / "images" / "deep0.png")).max() == 255
