"""The data of one experiment: a labelled source, a target, and a split to evaluate on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipelines.auditing import audit
from data_pipelines.batches import class_statistics
from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.patch_mining import PatchMiner
from data_pipelines.batches.rare_classes import RareClassSampler
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels.label_spaces import LabelSpace


@dataclasses.dataclass(frozen=True, kw_only=True)
class FurtherSource:
    """Labelled images that training reads beside the source, such as a few of the target.

    Args:
        domain: a labelled domain in the label space of the source.
        split: its split to train on.
        share: share of the source's images in training that are drawn from it, above 0.
    """

    domain: Domain
    split: str = "train"
    share: float = 0.25


class AdaptationData:
    """Checks the files of both domains and creates the streams that training reads.

    Args:
        source: labelled domain.
        target: domain to adapt to, in the same label space. Labels of its training split, if
            any, serve only to evaluate pseudo-labels.
        source_augmenter: augments source images.
        target_augmenter: augments target images, to the same size.
        source_batch: source images in a batch, over all replicas.
        target_batch: target images in a batch, over all replicas.
        source_split: the source's split to train on.
        target_split: the target's split to adapt to.
        eval_split: the target's split to evaluate on; without labels it is not evaluated.
        bad_files: "error" stops at bad files; "skip" logs and omits them.
        source_sampler: samples source images by their classes; None samples uniformly.
        target_sampler: samples target images by the classes of their pseudo-labels, which models
            that label in training do not have; None samples uniformly.
        target_miner: centres crops of target images on rare classes of their pseudo-labels; None
            leaves their places to chance.
        further_sources: further labelled images, each with its share; the source has the rest.
        source_free: whether to train on the target alone, from a model that was trained on the
            source; no file of the source is opened.

    Raises:
        UserError: the domains or the two augmenters do not match, or the shares leave none for the
            source.
    """

    def __init__(
        self,
        *,
        source: Domain,
        target: Domain,
        source_augmenter: Augmenter,
        target_augmenter: Augmenter,
        source_batch: int = 4,
        target_batch: int = 4,
        source_split: str = "train",
        target_split: str = "train",
        eval_split: str = "val",
        bad_files: str = "error",
        source_sampler: RareClassSampler | None = None,
        target_sampler: RareClassSampler | None = None,
        target_miner: PatchMiner | None = None,
        further_sources: Sequence[FurtherSource] = (),
        source_free: bool = False,
    ):
        if source_free and further_sources:
            raise UserError("AdaptationData.source_free leaves no place for further_sources.")
        if source_free and source_sampler is not None:
            logging.warning("AdaptationData.source_sampler has no effect: source_free is bound.")
        sources = _join_sources(source, source_split, further_sources)
        for domain in (part.domain for part in sources.values()):
            if domain.label_space != target.label_space:
                raise UserError(
                    f"The source {domain.name} has the label space {domain.label_space.name} "
                    f"({domain.label_space.num_classes} classes), the target {target.name} has "
                    f"{target.label_space.name} ({target.label_space.num_classes} classes). Bind "
                    "one label_space for all domains."
                )
        if source_augmenter.size != target_augmenter.size:
            raise UserError(
                f"Source crops are {source_augmenter.size} and target crops "
                f"{target_augmenter.size} (height, width), but both share one batch. Bind the same "
                "Augmenter.size for both."
            )
        check_integer("AdaptationData.source_batch", source_batch, least=1)
        check_integer("AdaptationData.target_batch", target_batch, least=1)
        self.source = source
        self.target = target
        self._sources = {} if source_free else sources
        self._augmenters = {"source": source_augmenter, "target": target_augmenter}
        self._batches = {"source": 0 if source_free else source_batch, "target": target_batch}
        self._splits = {"target": target_split, "eval": eval_split}
        self._bad_files = bad_files
        self._samplers = {"source": source_sampler, "target": target_sampler}
        self._target_miner = target_miner
        self._stamp_dir: str | None = None
        self._warned: set[str] = set()
        self._source_pairs: dict[str, list[Pair]] = {}
        self.digests: dict[str, str] = {}
        self.target_pairs: list[Pair] = []
        self.eval_pairs: list[Pair] = []

    @property
    def label_space(self) -> LabelSpace:
        """The label space of all domains."""
        return self.target.label_space

    @property
    def source_free(self) -> bool:
        """Whether training reads the target alone."""
        return not self._sources

    @property
    def source_pairs(self) -> list[Pair]:
        """The pairs of all sources."""
        return [pair for pairs in self._source_pairs.values() for pair in pairs]

    @property
    def source_batch(self) -> int:
        """Source images in a batch, over all replicas; 0 in source-free adaptation."""
        return self._batches["source"]

    @property
    def target_batch(self) -> int:
        """Target images in a batch, over all replicas."""
        return self._batches["target"]

    def check_replicas(self, count: int, micro_batches: int = 1) -> None:
        """Checks that batches divide evenly over the replicas.

        Args:
            count: replicas over all workers.
            micro_batches: parts that each replica's share is split into.

        Raises:
            UserError: a batch size does not.
        """
        for name, batch in self._batches.items():
            if batch % (count * micro_batches):
                parts = "" if micro_batches == 1 else f" of {micro_batches} micro-batches each"
                raise UserError(
                    f"AdaptationData.{name}_batch is {batch}, which does not divide over {count} "
                    f"replicas{parts}. Bind a multiple of {count * micro_batches}."
                )

    def audit(self, stamp_dir: str | None = None) -> None:
        """Opens every file that the experiment will read, and lists the pairs.

        Args:
            stamp_dir: folder of the stamps of unchanged files and of the class statistics; None
                always opens all files.

        Raises:
            UserError: there are bad files; lists every one.
        """
        self._stamp_dir = stamp_dir
        for role, part in self._sources.items():
            self._source_pairs[role] = self._audit_split(role, part.domain, part.split)
            if not part.domain.has_labels(part.split):
                raise UserError(
                    f"The source {part.domain.name} has no labels in its split {part.split!r}; "
                    "training starts from a labelled source."
                )
        self.target_pairs = self._audit_split("target", self.target, self._splits["target"])
        if self.target.has_labels(self._splits["eval"]):
            self.eval_pairs = self._audit_split("eval", self.target, self._splits["eval"])

    def check_scored(self) -> None:
        """Checks, after the audit, that no image is scored whose label training reads.

        Raises:
            UserError: a scored image is one of a source's; a path through links counts too.
        """
        scored = _resolve(self.eval_pairs)
        for role, pairs in self._source_pairs.items():
            if shared := sorted(scored & _resolve(pairs)):
                raise UserError(
                    f"{len(shared)} of the {len(scored)} images to score, such as {shared[0]}, are "
                    f"images of the {role} too, whose labels training reads. Put masks to score by "
                    "into another folder than masks to train on, or bind splits without common "
                    "images."
                )

    def check_target(self) -> None:
        """Checks, after the audit, that the target has images that the source does not have.

        Raises:
            UserError: every target image is one of the source's; a path through links counts too.
        """
        source = _resolve(self._source_pairs.get("source", ()))
        if _resolve(self.target_pairs) <= source:
            raise UserError(
                f"All {len(self.target_pairs)} target images, in "
                f"{files.describe_path(self.target.root)}, are images of the source, whose labels "
                "training reads: there is nothing to adapt to. Bind another root or split of the "
                "target, or no rounds."
            )

    def _audit_split(self, role, domain, split):
        report = audit.audit_split(
            domain, split, bad_files=self._bad_files, stamp_dir=self._stamp_dir
        )
        self.digests[role] = report.digest
        return report.pairs

    def list_splits(self) -> dict[str, tuple[Domain, str, list[Pair]]]:
        """Lists the splits that the experiment reads; called after the audit.

        Returns:
            Domain, split and pairs of "source" and further sources, "source_2" and so on, unless
            the adaptation is source-free; of "target"; and of "eval" where its split has labels.
        """
        splits = {
            role: (part.domain, part.split, self._source_pairs[role])
            for role, part in self._sources.items()
        }
        splits["target"] = (self.target, self._splits["target"], self.target_pairs)
        if self.eval_pairs:
            splits["eval"] = (self.target, self._splits["eval"], self.eval_pairs)
        return splits

    def count_classes(self, role: str) -> np.ndarray | None:
        """Counts the pixels of every class in a split's own labels.

        Args:
            role: a key of `list_splits`.

        Returns:
            (pairs, C) int64; None for a split without labels.
        """
        domain, split, pairs = self.list_splits()[role]
        if not domain.has_labels(split):
            return None
        # "target" is the file of the counts of its pseudo-labels.
        kept_as = "target_truth" if role == "target" else role
        return self._count(kept_as, pairs, domain)

    def make_source_stream(self) -> training_batches.Stream | None:
        """Creates the labelled half of every batch; None in source-free adaptation."""
        if self.source_free:
            return None
        owners: dict[str | None, Domain] = {}
        for role, part in self._sources.items():
            for path in (path for pair in self._source_pairs[role] for path in pair[1:]):
                if owners.setdefault(path, part.domain) is not part.domain:
                    raise UserError(
                        f"{path} is an image or label of two sources; bind sources without common "
                        "files."
                    )
        return training_batches.Stream(
            pairs=self.source_pairs,
            read_image=lambda path: owners[path].read_image(path),
            read_label=lambda path: owners[path].read_label(path),
            augmenter=self._augmenters["source"],
            batch_size=self._batches["source"],
            weights=self._weigh_sources(),
            min_crop_pixels=self._find_min_crop_pixels("source"),
        )

    def make_target_stream(self, labelled: Sequence[Pair]) -> training_batches.Stream:
        """Creates the pseudo-labelled half of every batch.

        Args:
            labelled: target images with the paths of their pseudo-labels.

        Returns:
            The stream; it does not read the target's own labels.
        """
        return training_batches.Stream(
            pairs=labelled,
            read_image=self.target.read_image,
            read_label=self._read_pseudo_label,
            augmenter=self._augmenters["target"],
            batch_size=self._batches["target"],
            weights=self._weigh("target", labelled),
            min_crop_pixels=self._find_min_crop_pixels("target"),
            miner=self._target_miner,
            mined_classes=self._choose_mined_classes(labelled),
        )

    def make_true_target_stream(self) -> training_batches.Stream:
        """Creates the target half with the target's own labels, for display and never for training.

        Returns:
            The stream; its labels are 0 where the target has none.
        """
        is_labelled = self.target.has_labels(self._splits["target"])
        return training_batches.Stream(
            pairs=self.target_pairs,
            read_image=self.target.read_image,
            read_label=self.target.read_label if is_labelled else None,
            augmenter=self._augmenters["target"],
            batch_size=self._batches["target"],
        )

    def make_unlabelled_target_stream(self) -> training_batches.Stream:
        """Creates the target half of every batch for a model that labels it in training.

        Returns:
            The stream; it reads no label file, its labels are 0 and, in padding, 255. It changes
            geometry alone, as the model labels the clean image.

        Raises:
            UserError: a target sampler or miner is bound; there are no labels to sample by.
        """
        for name, part in (
            ("target_sampler", self._samplers["target"]),
            ("target_miner", self._target_miner),
        ):
            if part is not None:
                raise UserError(
                    f"AdaptationData.{name} uses the pseudo-labels of target images, but this "
                    "model makes them in training. Bind it to None."
                )
        return training_batches.Stream(
            pairs=self.target_pairs,
            read_image=self.target.read_image,
            read_label=None,
            augmenter=self._augmenters["target"].for_unlabelled(),
            batch_size=self._batches["target"],
        )

    def _read_pseudo_label(self, path):
        return read_id_map(path, self.target.max_pixels)

    def _find_min_crop_pixels(self, role):
        sampler = self._samplers[role]
        return 0 if sampler is None else sampler.min_crop_pixels

    def _weigh_sources(self):
        """Computes the weights of the images of all sources; None samples uniformly."""
        weights = []
        for role, part in self._sources.items():
            pairs, domain = self._source_pairs[role], part.domain
            own = self._weigh(role, pairs, domain)
            if own is None and len(self._sources) > 1:
                own = np.full((len(pairs), self.label_space.num_classes), 1.0)
            weights.append(own if own is None else part.share * own / own.sum())
        return weights[0] if len(weights) == 1 else np.concatenate(weights)

    def _weigh(self, role, pairs, domain=None):
        """Computes the weights of a split's images; None samples uniformly.

        Args:
            role: of the split; its stream is "target" or "source".
            pairs: images with labels.
            domain: reads the labels; None for pseudo-labels.
        """
        sampler = self._samplers["target" if role == "target" else "source"]
        if sampler is None:
            return None
        weights = sampler.weigh(self._count(role, pairs, domain))
        if weights is None and role not in self._warned:
            self._warned.add(role)
            logging.warning(
                "The sampler of the %s finds no class in any of its %d images: they are sampled "
                "uniformly. Lower RareClassSampler.min_pixels.", role, len(pairs),
            )  # fmt: skip
        return weights

    def _choose_mined_classes(self, labelled):
        if self._target_miner is None:
            return ()
        counts = self._count("target", labelled)
        return self._target_miner.choose_classes(counts)

    def _count(self, name, pairs, domain=None):
        """Counts the pixels of every class, in pseudo-labels without a domain."""
        path = None
        if self._stamp_dir is not None:
            path = os.path.join(self._stamp_dir, f"classes-{name}.json")
        return class_statistics.count_pixels(
            pairs,
            self._read_pseudo_label if domain is None else domain.read_label,
            self.label_space.class_names,
            domain=domain,
            path=path,
            description=f"counting classes, {name.replace('_', ' ')}",
        )


def _resolve(pairs):
    """Returns the paths of the images, with links of their folders resolved."""
    paths = [os.path.split(pair.image_path) for pair in pairs]
    folders = {folder: os.path.realpath(folder) for folder, _ in paths}
    return {os.path.join(folders[folder], name) for folder, name in paths}


def _join_sources(source, split, further_sources):
    """Returns all sources by role, with their shares."""
    rest = 1.0 - sum(further.share for further in further_sources)
    if rest <= 0 or min((further.share for further in further_sources), default=1) <= 0:
        raise UserError(
            f"FurtherSource.share is {', '.join(str(f.share) for f in further_sources)}; every "
            "share must be above 0, and their sum below 1."
        )
    sources = [FurtherSource(domain=source, split=split, share=rest), *further_sources]
    names = ["source", *(f"source_{n}" for n in range(2, len(sources) + 1))]
    return dict(zip(names, sources))


def read_id_map(path: str, max_pixels: int = decoding.MAX_PIXELS) -> np.ndarray:
    """Reads a label map that this program wrote.

    Args:
        path: an 8-bit grey PNG.
        max_pixels: maximum number of pixels.

    Returns:
        (H, W) uint8 with 255 = ignore.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return decoding.decode_ids(files.read_bytes(path, 2 * max_pixels), max_pixels)
    except UserError as error:
        raise UserError(
            f"{files.describe_path(path)}, which this run wrote, {error}. Put a copy of it back, "
            "remove its image if that was added during the run, or start over with --fresh."
        ) from error
