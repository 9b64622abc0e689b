"""Datasets, labels and tf.data input of drsl_tf; knows no model."""
