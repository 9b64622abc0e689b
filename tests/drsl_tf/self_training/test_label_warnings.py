"""The warning of a teacher that is confident of next to nothing."""

import pytest
import tensorflow as tf

from data_pipelines.domains.cityscapes import Cityscapes
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
