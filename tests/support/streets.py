"""A source and a target of a few small rendered scenes, for whole runs in tests."""

from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.batches.augment import Augmenter
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.streets import rendered

SIZE = (32, 64)


def list_demo_bindings(folder, source=4, target=2, val=1):
    """Lists the gin lines that let the demo train a small network on a few small scenes."""
    return [
        "from tests.support import tiny_network",
        "drsl_tf.build_model.base = @tiny_network.tiny_base",
        f"game/rendered.rendered_root.count = {source}",
        f"camera/rendered.rendered_root.count = {target}",
        f"camera/rendered.rendered_root.val_count = {val}",
        f"CROP = {SIZE}",
        "drsl_tf.Monitoring.mode_images = 0",
        *(
            f"{style}/rendered.rendered_root.{name} = {value}"
            for style in ("game", "camera")
            for name, value in (("size", SIZE), ("root", repr(f"{folder}/{style}")))
        ),
    ]


def render_roots(folder, num_source):
    """Renders a source of some scenes and a target of 4 + 2; gives their roots."""
    shared = {"size": SIZE, "seed": 5}
    game = rendered.rendered_root(
        root=str(folder / "game"), layout="gta5", style="game", count=num_source, **shared
    )
    camera = rendered.rendered_root(
        root=str(folder / "camera"),
        layout="cityscapes",
        style="camera",
        count=4,
        val_count=2,
        **shared,
    )
    return game, camera


def make_data(roots, scale=(1.0, 1.0), **options):
    """Creates the data of an experiment, two images of each domain per batch.

    `options` are arguments of `AdaptationData`.
    """
    game, camera = roots
    augmenter = Augmenter(size=SIZE, scale=scale)
    given = {
        "source": Gta5(root=game),
        "target": Cityscapes(root=camera),
        "source_augmenter": augmenter,
        "target_augmenter": augmenter,
        "source_batch": 2,
        "target_batch": 2,
    }
    return AdaptationData(**{**given, **options})
