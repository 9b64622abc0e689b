"""The warning of a teacher that is confident of next to nothing."""

import types

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.domain import Pair
from drsl_tf.self_training.label_warnings import list_teacher_warnings
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import streets
from tests.support import toys


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return Cityscapes(root=streets.render_roots(tmp_path_factory.mktemp("data"), num_source=1)[1])


@pytest.mark.parametrize("threshold, is_warned", [(0.0, False), (1.0, True)])
def test_a_teacher_without_confident_pixels_is_a_warning(target, threshold, is_warned):
    model = toys.make_model(model_class=OnlineDrslModel, with_modes=False, threshold=threshold)
    pairs = target.list_pairs("train")[:3]
    found = list_teacher_warnings(
        model, tf.distribute.get_strategy(), target, pairs, round_index=2, size=(32, 32)
    )
    assert len(found) == is_warned
    assert all("After round 2 the teacher is confident of 0.0% of the" in text for text in found)
    assert all("3 target image(s)" in text for text in found)


@pytest.mark.parametrize("share, is_warned", [(0.04, True), (0.06, False)])
def test_it_is_the_share_of_all_pixels_of_images_from_the_whole_list(share, is_warned):
    read = []

    def read_image(path):
        read.append(int(path))
        return np.zeros((10, 20, 3), np.uint8)

    def label_images(images):
        number = tf.reshape(tf.range(200), tf.shape(images)[:3])
        return tf.zeros_like(number), number < round(200 * share)

    pairs = [Pair(str(number), str(number), None) for number in range(15)]
    found = list_teacher_warnings(
        types.SimpleNamespace(label_images=label_images),
        tf.distribute.get_strategy(),
        types.SimpleNamespace(read_image=read_image),
        pairs,
        round_index=1,
    )
    assert len(found) == is_warned
    assert len(read) == 8
    assert min(read) == 0
    assert max(read) >= 13
