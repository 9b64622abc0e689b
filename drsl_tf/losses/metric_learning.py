"""Distance metric learning between pixels and the modes of the classes (METHOD: DML, MMDL).

The inputs are outputs of the multi-modal head, already L2-normalised: N pixel embeddings of d
dimensions, and K modes for each of C classes. Distances, posterior and margin follow RepMet
(Karlinsky et al., CVPR 2019), applied to each pixel.
"""

from __future__ import annotations

import tensorflow as tf

from drsl_tf.common import IGNORE_ID

# Stand-ins for 0, whose logarithm is infinite.
_LEAST_USAGE = 1e-8
_LEAST_RIVALRY = 1e-30


def squared_distances(embedding: tf.Tensor, modes: tf.Tensor) -> tf.Tensor:
    """Computes the squared Euclidean distance of every pixel to every mode.

    D2[p, c, k] = |E_p - R_ck|^2 = 2 - 2 E_p . R_ck for unit vectors, by one matrix product,
    without a (N, C, K, d) tensor. Rounding can make the result slightly negative where E_p = R_ck,
    so it is clipped at 0. The clip drops the gradient only of negative values, where the gradient
    along the sphere vanishes anyway.

    Args:
        embedding: (N, d) float tensor of unit vectors; (..., d) is flattened to it. Computed in
            float32.
        modes: (C, K, d) float tensor of unit vectors.

    Returns:
        (N, C, K) float32 tensor of values in [0, 4], up to rounding.
    """
    embedding = tf.cast(embedding, tf.float32)
    modes = tf.cast(modes, tf.float32)
    dimensions = tf.shape(modes)
    cosines = tf.matmul(
        tf.reshape(embedding, [-1, dimensions[2]]),
        tf.reshape(modes, [-1, dimensions[2]]),
        transpose_b=True,
    )
    # The order of the arguments matters: at a tie the gradient goes to the first.
    distances = tf.maximum(2.0 - 2.0 * cosines, 0.0)
    distances = tf.reshape(distances, [-1, dimensions[0], dimensions[1]])
    return tf.ensure_shape(distances, [None, modes.shape[0], modes.shape[1]])


def mode_margin_loss(
    distances: tf.Tensor,
    labels: tf.Tensor,
    margin: float = 0.5,
    by_class: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the hinge between a pixel's own class and the nearest other class (L_dml).

    L[p] = max(0, min_k D2[p, y_p, k] - min_{c != y_p, k} D2[p, c, k] + margin). The margin is in
    units of squared distance. The sum is 0 if and only if every valid pixel is nearer to a mode of
    its own class than to all modes of other classes by the margin. With a single class the loss
    is 0.

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        labels: (N,) integer tensor (any shape of N elements), classes 0..C-1, or 255, which
            counts neither in the loss nor in the gradient.
        margin: the hinge's margin alpha in squared distance; RepMet uses 0.5.
        by_class: whether to sum and count the pixels of each class separately.

    Returns:
        The sum over the valid pixels and their number: two float32 scalars, or two (C,) float32
        tensors by class.
    """
    distances = tf.cast(distances, tf.float32)
    valid, labels = _split_labels(labels)
    class_distances = tf.reduce_min(distances, axis=2)
    is_own = _own_class_mask(class_distances, labels)
    # A finite stand-in for infinity keeps gradients finite. A label outside the classes makes
    # `own`, and so the loss, huge: it is never ignored silently.
    largest = distances.dtype.max
    own = tf.reduce_min(tf.where(is_own, class_distances, largest), axis=1)
    others = tf.reduce_min(tf.where(is_own, largest, class_distances), axis=1)
    hinge = tf.nn.relu(own - others + margin)
    return _sum_pixels(hinge, valid, is_own if by_class else None)


def mode_posterior_loss(
    distances: tf.Tensor,
    labels: tf.Tensor,
    sigma: float = 0.5,
    by_class: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the negative log posterior of the pixels' own classes (L_mce).

    L[p] = -log q[p, y_p], with q[p, c] = sum_k p[p, c, k] normalised over all (c, k), and
    p[p, c, k] = exp(-D2[p, c, k] / (2 sigma^2)). As D2 is bounded, so is q: with sigma = 0.5 and 19
    classes the loss cannot fall below about 0.24.

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        labels: (N,) integer tensor (any shape of N elements), classes 0..C-1, or 255, which
            counts neither in the loss nor in the gradient.
        sigma: the standard deviation of a mode; RepMet uses 0.5.
        by_class: whether to sum and count the pixels of each class separately.

    Returns:
        The sum over the valid pixels and their number: two float32 scalars, or two (C,) float32
        tensors by class.
    """
    valid, labels = _split_labels(labels)
    # q is the softmax over the classes of log sum_k p, so the fused kernel applies.
    exponents = tf.cast(distances, tf.float32) * (-1.0 / (2.0 * sigma * sigma))
    # D2 in [0, 4] bounds the exponents, but a small sigma needs the stable form.
    scores = tf.reduce_logsumexp(exponents, axis=2)
    pixel_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores)
    return _sum_pixels(pixel_loss, valid, _own_class_mask(scores, labels) if by_class else None)


def mode_log_scores(distances: tf.Tensor, usage: tf.Tensor, temperature: float = 0.1) -> tf.Tensor:
    """Computes how well the modes of each class explain every pixel, on a logarithmic scale.

    a[p, c] = log sum_k usage_ck exp(E_p . R_ck / temperature), this project's choice: the softmax
    of ProDA (P. Zhang et al., CVPR 2021) over the distances to prototypes, with a mixture in place
    of each prototype.

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        usage: (C, K) float32, the share of each mode in the pixels of its class.
        temperature: scale of the cosines.

    Returns:
        (N, C) float32 tensor, without gradient.
    """
    weights = tf.math.log(tf.maximum(usage, _LEAST_USAGE))
    scores = _cosines(tf.cast(distances, tf.float32)) / temperature + weights
    return tf.stop_gradient(tf.reduce_logsumexp(scores, axis=2))


def nearest_modes(distances: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Finds the mode of each pixel: the nearest one of its own (pseudo-)class.

    m(p) = argmin_k D2[p, y_p, k]. No gradient flows through the choice.

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        labels: (N,) integer tensor (any shape of N elements), classes 0..C-1, or 255 for
            pixels without a mode.

    Returns:
        (N,) int32 tensor of values 0..K-1, and -1 where the pixel is ignored.
    """
    valid, labels = _split_labels(labels)
    own = tf.gather(tf.stop_gradient(distances), labels, axis=1, batch_dims=1)
    modes = tf.argmin(own, axis=1, output_type=tf.int32)
    return tf.where(valid, modes, -1)


def competing_modes(
    distances: tf.Tensor,
    labels: tf.Tensor,
    usage: tf.Tensor,
    temperature: float = 0.1,
) -> tf.Tensor:
    """Finds the mode of each pixel's (pseudo-)class that wins it, by cosine and usage.

    m(p) = argmax_k [E_p . R_yk / temperature + log usage_yk], this project's choice: of two equally
    near modes the more frequent one wins. No gradient flows through the choice.

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        labels: (N,) integer tensor (any shape of N elements), classes 0..C-1, or 255 for
            pixels without a mode.
        usage: (C, K) float32, the share of each mode in the pixels of its class.
        temperature: scale of the cosines.

    Returns:
        (N,) int32 tensor of values 0..K-1, and -1 where the pixel is ignored.
    """
    valid, labels = _split_labels(labels)
    cosines = _cosines(tf.gather(tf.stop_gradient(distances), labels, axis=1, batch_dims=1))
    weights = tf.math.log(tf.maximum(usage, _LEAST_USAGE))
    scores = cosines / temperature + tf.gather(weights, labels)
    modes = tf.argmax(scores, axis=1, output_type=tf.int32)
    return tf.where(valid, modes, -1)


def mode_sibling_loss(
    distances: tf.Tensor,
    labels: tf.Tensor,
    usage: tf.Tensor,
    *,
    temperature: float = 0.1,
    rivalry: float | tf.Tensor = 1.0,
    by_class: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the negative log-probability of the pixels' own modes among all modes (L_sib).

    With s_ck = E_p . R_ck / temperature and the pixel's mode m of `competing_modes`,

        L[p] = -log( e^s_ym / (e^s_ym + sum_{c != y, k} e^s_ck + rivalry sum_{k != m} e^s_yk) ).

    The modes of a pixel's own class compete with each other as far as `rivalry` says: at 0 only
    other classes are repelled. This project's choice, after prototype networks (T. Zhou et al.,
    "Rethinking Semantic Segmentation: A Prototype View", CVPR 2022).

    Args:
        distances: (N, C, K) float tensor, from `squared_distances`.
        labels: (N,) integer tensor (any shape of N elements), classes 0..C-1, or 255, which
            counts neither in the loss nor in the gradient.
        usage: (C, K) float32, the share of each mode in the pixels of its class; no gradient flows
            into it.
        temperature: scale of the cosines.
        rivalry: the factor of the other modes of the own class, in [0, 1].
        by_class: whether to sum and count the pixels of each class separately.

    Returns:
        The sum over the valid pixels and their number: two float32 scalars, or two (C,) float32
        tensors by class.
    """
    distances = tf.cast(distances, tf.float32)
    num_modes = distances.shape[2]
    chosen = competing_modes(distances, labels, usage, temperature)
    valid, labels = _split_labels(labels)
    is_own = _own_class_mask(distances[:, :, 0], labels)
    is_chosen = tf.equal(chosen[:, tf.newaxis], tf.range(num_modes))
    is_sibling = is_own[:, :, tf.newaxis] & ~is_chosen[:, tf.newaxis, :]
    log_rivalry = tf.math.log(tf.maximum(rivalry, _LEAST_RIVALRY))
    logits = _cosines(distances) / temperature + tf.where(is_sibling, log_rivalry, 0.0)
    pixel_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels * num_modes + tf.maximum(chosen, 0),
        logits=tf.reshape(logits, (-1, distances.shape[1] * num_modes)),
    )
    return _sum_pixels(pixel_loss, valid, is_own if by_class else None)


def _cosines(distances):
    return 1.0 - distances / 2.0


def _split_labels(labels):
    """Flattens labels; returns a mask of the valid ones, and labels with 0 where invalid."""
    labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
    valid = tf.not_equal(labels, IGNORE_ID)
    return valid, tf.where(valid, labels, 0)


def _sum_pixels(pixel_loss, valid, is_own):
    """Sums and counts the valid pixels, by class if the mask `is_own` (N, C) is given.

    Counts in integers, as float32 sums of ones stall at 2**24.
    """
    pixel_loss = tf.where(valid, pixel_loss, 0.0)
    if is_own is None:
        return tf.reduce_sum(pixel_loss), tf.cast(tf.math.count_nonzero(valid), tf.float32)
    sums = tf.linalg.matvec(tf.cast(is_own, tf.float32), pixel_loss, transpose_a=True)
    # The loss of a label outside the classes goes to every class, so that it is noticed.
    has_class = tf.reduce_any(is_own, axis=1)
    sums += tf.reduce_sum(tf.where(has_class, 0.0, pixel_loss))
    counts = tf.math.count_nonzero(tf.logical_and(is_own, valid[:, tf.newaxis]), axis=0)
    return sums, tf.cast(counts, tf.float32)


def _own_class_mask(class_values, labels):
    """Returns (N, C) bool: whether a column is the pixel's own class."""
    classes = tf.range(tf.shape(class_values)[1])
    return tf.equal(labels[:, tf.newaxis], classes[tf.newaxis, :])
