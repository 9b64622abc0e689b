"""Sources of an experiment: one, several with shares, or none."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.batches import training_batches
from data_pipelines.batches.adaptation import FurtherSource
from data_pipelines.batches.patch_mining import PatchMiner
from data_pipelines.batches.rare_classes import RareClassSampler
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.errors import UserError
from tests.support import streets


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=3)


def _further(roots, share=0.25, **options):
    return FurtherSource(domain=Cityscapes(root=roots[1]), share=share, **options)


@pytest.mark.parametrize("sampler", [None, RareClassSampler(temperature=10.0)])
def test_a_further_source_gets_its_share_of_the_images(roots, sampler):
    data = streets.make_data(roots, further_sources=[_further(roots)], source_sampler=sampler)
    data.audit()
    stream = data.make_source_stream()
    assert len(stream.pairs) == 3 + 4
    weights = stream.image_weights
    np.testing.assert_allclose(weights[3:].sum() / weights.sum(), 0.25)
    order = training_batches.draw_order(
        4000, num_items=7, seed=0, round_index=0, stream="source", weights=weights
    )
    assert abs(np.mean(order >= 3) - 0.25) < 0.03
    # Images and labels come from the reader of their own domain.
    for pair in stream.pairs:
        assert stream.read_image(pair.image_path).shape == (*streets.SIZE, 3)
        assert stream.read_label(pair.label_path).shape == streets.SIZE
    roles = data.list_splits()
    assert list(roles) == ["source", "source_2", "target", "eval"]
    assert len(roles["source_2"][2]) == 4
    assert data.count_classes("source_2").shape == (4, 19)


def test_a_sampler_that_finds_no_class_is_logged(roots, caplog):
    sampler = RareClassSampler(min_pixels=1 << 20)
    data = streets.make_data(roots, further_sources=[_further(roots)], source_sampler=sampler)
    data.audit()
    weights = data.make_source_stream().image_weights
    np.testing.assert_allclose(weights, [0.25] * 3 + [0.0625] * 4)
    for role, count in (("source", 3), ("source_2", 4)):
        assert f"sampler of the {role} finds no class in any of its {count} images" in caplog.text


def test_one_source_reads_every_image_once_an_epoch(roots):
    data = streets.make_data(roots)
    data.audit()
    assert data.make_source_stream().weights is None


def test_without_a_source_its_half_of_a_batch_is_empty(roots, tmp_path):
    data = streets.make_data((str(tmp_path / "absent"), roots[1]), source_free=True)
    data.audit()
    assert data.make_source_stream() is None
    assert data.source_batch == 0 and data.source_pairs == []
    assert list(data.list_splits()) == ["target", "eval"]
    batches = training_batches.make_training_batches(
        None, data.make_unlabelled_target_stream(), steps=2, seed=0, round_index=1
    )
    for batch in batches.as_numpy_iterator():
        assert batch["source"]["image"].shape == (0, *streets.SIZE, 3)
        assert batch["source"]["label"].shape == (0, *streets.SIZE)
        assert batch["target"]["image"].shape == (2, *streets.SIZE, 3)


def test_a_target_whose_images_are_the_sources_is_refused(roots, tmp_path):
    link = tmp_path / "other_name"
    link.symlink_to(roots[1])
    for split in ("train", "val"):
        data = streets.make_data(roots, source=Cityscapes(root=str(link)), source_split=split)
        data.audit()
        if split == "val":  # Other images of the same folder.
            data.check_target()
            continue
        with pytest.raises(UserError, match=f"All 4 target images, in {roots[1]}, are images of"):
            data.check_target()
    data = streets.make_data(roots, further_sources=[_further(roots)])
    data.audit()
    data.check_target()


def test_a_sampler_without_a_source_is_logged(roots, caplog):
    streets.make_data(roots, source_sampler=RareClassSampler())
    assert not caplog.text
    streets.make_data(roots, source_sampler=RareClassSampler(), source_free=True)
    assert "AdaptationData.source_sampler has no effect" in caplog.text


@pytest.mark.parametrize("shares", [(0.0,), (1.0,), (0.6, 0.4), (-0.1, 0.3)])
def test_shares_leave_some_for_the_source(roots, shares):
    with pytest.raises(UserError, match="FurtherSource.share is"):
        streets.make_data(roots, further_sources=[_further(roots, share) for share in shares])


def test_a_further_source_needs_a_source_and_labels(roots, tmp_path):
    with pytest.raises(UserError, match="source_free leaves no place for further_sources"):
        streets.make_data(roots, source_free=True, further_sources=[_further(roots)])
    folder = tmp_path / "leftImg8bit" / "train" / "aachen"
    folder.mkdir(parents=True)
    image = next(p.image_path for p in Cityscapes(root=roots[1]).list_pairs("train"))
    (folder / "aachen_000000_000000_leftImg8bit.png").write_bytes(open(image, "rb").read())
    unlabelled = dataclasses.replace(_further(roots), domain=Cityscapes(root=str(tmp_path)))
    data = streets.make_data(roots, further_sources=[unlabelled])
    with pytest.raises(UserError, match="has no labels in its split"):
        data.audit()


@pytest.mark.parametrize(
    "option, part", [("target_sampler", RareClassSampler()), ("target_miner", PatchMiner())]
)
def test_an_unlabelled_target_cannot_be_sampled_by_classes(roots, option, part):
    data = streets.make_data(roots, **{option: part})
    data.audit()
    with pytest.raises(UserError, match=f"AdaptationData.{option} uses the pseudo-labels"):
        data.make_unlabelled_target_stream()
