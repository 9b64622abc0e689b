"""The data of one experiment: a labelled source, a target, and a split to evaluate on."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from data_pipelines.auditing import audit
from data_pipelines.batches import class_statistics
from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.rare_classes import RareClassSampler
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels.label_spaces import LabelSpace


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

    Raises:
        UserError: the two domains or the two augmenters do not match.
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
    ):
        if source.label_space != target.label_space:
            raise UserError(
                f"The source {source.name} has the label space {source.label_space.name} "
                f"({source.label_space.num_classes} classes), the target {target.name} has "
                f"{target.label_space.name} ({target.label_space.num_classes} classes). Bind one "
                "label_space for both domains."
            )
        if source_augmenter.size != target_augmenter.size:
            raise UserError(
                f"Source crops are {source_augmenter.size} and target crops "
                f"{target_augmenter.size} (height, width), but both share one batch. Bind the same "
                "Augmenter.size for both."
            )
        for name, batch in (("source_batch", source_batch), ("target_batch", target_batch)):
            if batch < 1:
                raise UserError(f"AdaptationData.{name} is {batch}; it must be at least 1.")
        self.source = source
        self.target = target
        self._augmenters = {"source": source_augmenter, "target": target_augmenter}
        self._batches = {"source": source_batch, "target": target_batch}
        self._splits = {"source": source_split, "target": target_split, "eval": eval_split}
        self._bad_files = bad_files
        self._samplers = {"source": source_sampler, "target": target_sampler}
        self._stamp_dir: str | None = None
        self.source_pairs: list[Pair] = []
        self.target_pairs: list[Pair] = []
        self.eval_pairs: list[Pair] = []

    @property
    def label_space(self) -> LabelSpace:
        """The label space of both domains."""
        return self.source.label_space

    @property
    def source_batch(self) -> int:
        """Source images in a batch, over all replicas."""
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
        self.source_pairs = self._audit_split(self.source, "source", stamp_dir)
        if not self.source.has_labels(self._splits["source"]):
            raise UserError(
                f"The source {self.source.name} has no labels in its split "
                f"{self._splits['source']!r}; training starts from a labelled source."
            )
        self.target_pairs = self._audit_split(self.target, "target", stamp_dir)
        if self.target.has_labels(self._splits["eval"]):
            self.eval_pairs = self._audit_split(self.target, "eval", stamp_dir)

    def _audit_split(self, domain, role, stamp_dir):
        report = audit.audit_split(
            domain, self._splits[role], bad_files=self._bad_files, stamp_dir=stamp_dir
        )
        return report.pairs

    def list_splits(self) -> dict[str, tuple[Domain, str, list[Pair]]]:
        """Lists the splits that the experiment reads; called after the audit.

        Returns:
            Domain, split and pairs of "source", "target" and "eval"; the last only where its
            split has labels.
        """
        splits = {
            "source": (self.source, self._splits["source"], self.source_pairs),
            "target": (self.target, self._splits["target"], self.target_pairs),
        }
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
        return self._count(kept_as, pairs, domain.read_label, domain.id_table())

    def make_source_stream(self) -> training_batches.Stream:
        """Creates the labelled half of every batch."""
        return training_batches.Stream(
            pairs=self.source_pairs,
            read_image=self.source.read_image,
            read_label=self.source.read_label,
            augmenter=self._augmenters["source"],
            batch_size=self._batches["source"],
            weights=self._weigh(
                "source", self.source_pairs, self.source.read_label, self.source.id_table()
            ),
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
            weights=self._weigh("target", labelled, self._read_pseudo_label),
            min_crop_pixels=self._find_min_crop_pixels("target"),
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
            UserError: a target sampler is bound; there are no labels to sample by.
        """
        if self._samplers["target"] is not None:
            raise UserError(
                "AdaptationData.target_sampler draws target images by their pseudo-labels, but "
                "this model makes them in training. Bind it to None."
            )
        return training_batches.Stream(
            pairs=self.target_pairs,
            read_image=self.target.read_image,
            read_label=None,
            augmenter=self._augmenters["target"].without_photometry(),
            batch_size=self._batches["target"],
        )

    def _read_pseudo_label(self, path):
        return read_id_map(path, self.target.max_pixels)

    def _find_min_crop_pixels(self, role):
        sampler = self._samplers[role]
        return 0 if sampler is None else sampler.min_crop_pixels

    def _weigh(self, role, pairs, read_label, table=None):
        """Computes the weights of a stream's images; None samples uniformly."""
        sampler = self._samplers[role]
        if sampler is None:
            return None
        return sampler.weigh(self._count(role, pairs, read_label, table))

    def _count(self, name, pairs, read_label, table):
        path = None
        if self._stamp_dir is not None:
            path = os.path.join(self._stamp_dir, f"classes-{name}.json")
        return class_statistics.count_pixels(
            pairs,
            read_label,
            self.label_space.class_names,
            table=table,
            path=path,
            description=f"counting classes, {name.replace('_', ' ')}",
        )


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
            "or start over with --fresh."
        ) from error
