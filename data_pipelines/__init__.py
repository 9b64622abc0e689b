"""Datasets, labels and tf.data input of drsl_tf; independent of the models."""
