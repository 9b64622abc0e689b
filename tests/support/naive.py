"""Oracles: the formulas of the losses as loops over pixels, in float64."""

from __future__ import annotations

import numpy as np

IGNORE = 255


def uniform_divergence_loss(logits, labels):
    """Sum and count of KL(u || p), and the gradient of the sum with respect to the logits."""
    total, count, gradient = 0.0, 0, np.zeros(logits.shape)
    uniform = 1.0 / logits.shape[-1]
    for index in np.ndindex(*labels.shape):
        if labels[index] == IGNORE:
            continue
        powers = np.exp(logits[index].astype(np.float64) - logits[index].max())
        p = powers / powers.sum()
        total += np.sum(uniform * (np.log(uniform) - np.log(p)))
        gradient[index] = p - uniform
        count += 1
    return total, count, gradient


def draw_unit_vectors(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def draw_labels(rng, count, num_classes, ignored_share=0.2):
    labels = rng.integers(0, num_classes, count)
    return np.where(rng.random(count) < ignored_share, IGNORE, labels).astype(np.int32)


def squared_distances(embedding, modes):
    num_classes, num_modes, _ = modes.shape
    distances = np.zeros((len(embedding), num_classes, num_modes))
    for pixel, vector in enumerate(embedding.astype(np.float64)):
        for c in range(num_classes):
            for k in range(num_modes):
                distances[pixel, c, k] = np.sum((vector - modes[c, k]) ** 2)
    return distances


def mode_margin_loss(distances, labels, margin):
    """Sum, count and the gradient of the sum with respect to the distances."""
    total, count, gradient = 0.0, 0, np.zeros(distances.shape)
    for pixel, label in enumerate(labels):
        if label == IGNORE:
            continue
        count += 1
        own = distances[pixel, label].min()
        others = [
            (distances[pixel, c, k], c, k)
            for c in range(distances.shape[1])
            for k in range(distances.shape[2])
            if c != label
        ]
        nearest, c, k = min(others)
        hinge = own - nearest + margin
        if hinge > 0:
            total += hinge
            gradient[pixel, label, distances[pixel, label].argmin()] += 1
            gradient[pixel, c, k] -= 1
    return total, count, gradient


def mode_posterior_loss(distances, labels, sigma):
    total, count = 0.0, 0
    for pixel, label in enumerate(labels):
        if label == IGNORE:
            continue
        powers = np.exp(-distances[pixel] / (2 * sigma**2))
        total -= np.log(powers[label].sum() / powers.sum())
        count += 1
    return total, count


def group_by_mode(embedding, labels, modes):
    """A dict from (class, mode) to the list of its pixels."""
    distances = squared_distances(embedding, modes)
    groups = {}
    for pixel, label in enumerate(labels):
        if label != IGNORE:
            key = (int(label), int(distances[pixel, label].argmin()))
            groups.setdefault(key, []).append(pixel)
    return groups


def expected_mode_alignment_loss(source, source_labels, target, target_labels, modes):
    """The mean over all pairs of each shared mode, by loops; returns sum and count."""
    source_groups = group_by_mode(source, source_labels, modes)
    target_groups = group_by_mode(target, target_labels, modes)
    total, count = 0.0, 0
    for key in source_groups.keys() & target_groups.keys():
        pairs = [
            np.sum((source[s].astype(np.float64) - target[t]) ** 2)
            for s in source_groups[key]
            for t in target_groups[key]
        ]
        total += np.mean(pairs)
        count += 1
    return total, count


def cross_entropy_loss(logits, labels, weights=None):
    """Sum, count and the gradient of the sum with respect to the logits."""
    logits = logits.astype(np.float64)
    total, count, gradient = 0.0, 0, np.zeros(logits.shape)
    for place in np.ndindex(*labels.shape):
        label = labels[place]
        if label == IGNORE:
            continue
        weight = 1.0 if weights is None else weights[place]
        powers = np.exp(logits[place] - logits[place].max())
        softmax = powers / powers.sum()
        total -= weight * np.log(softmax[label])
        gradient[place] = weight * softmax
        gradient[place + (label,)] -= weight
        count += 1
    return total, count, gradient


def competing_modes(cosines, labels, usage, temperature):
    """The mode of each pixel; -1 where it is ignored."""
    scores = [
        cosines[pixel, label] / temperature + np.log(usage[label]) if label != IGNORE else None
        for pixel, label in enumerate(labels)
    ]
    return [-1 if each is None else int(each.argmax()) for each in scores]


def mode_log_scores(embedding, modes, usage, temperature):
    """log sum_k usage_ck exp(E . R_ck / temperature) of each pixel and class."""
    scores = np.zeros((len(embedding), len(modes)))
    for pixel, vector in enumerate(embedding.astype(np.float64)):
        for c, own in enumerate(modes.astype(np.float64)):
            scores[pixel, c] = np.log(
                sum(pi * np.exp(vector @ mode / temperature) for pi, mode in zip(usage[c], own))
            )
    return scores


def mode_sibling_loss(cosines, labels, usage, temperature, rivalry):
    """Sums and counts by class, and the gradient of the sums with respect to the cosines."""
    num_classes, num_modes = usage.shape
    totals, counts = np.zeros(num_classes), np.zeros(num_classes)
    gradient = np.zeros(cosines.shape)
    chosen = competing_modes(cosines, labels, usage, temperature)
    for pixel, label in enumerate(labels):
        if label == IGNORE:
            continue
        powers = np.exp(cosines[pixel] / temperature)
        for k in range(num_modes):
            if k != chosen[pixel]:
                powers[label, k] *= rivalry
        p = powers / powers.sum()
        totals[label] -= np.log(p[label, chosen[pixel]])
        counts[label] += 1
        gradient[pixel] = p / temperature
        gradient[pixel, label, chosen[pixel]] -= 1 / temperature
    return totals, counts, gradient
