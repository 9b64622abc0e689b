"""Changes padding, strides and dilation of built backbones."""

from __future__ import annotations

import keras

from data_pipelines.errors import UserError

_PROBE_SIZE = 256


def pad_like_same(model: keras.Model) -> keras.Model:
    """Replaces explicit zero padding and "valid" strides by "same" padding.

    Backbones built for unknown sizes pad (0, 1) before a stride of 2, which is right for even
    sizes and drops the last row of odd ones, as "valid" pooling does; "same" padding gives
    ceil(n / 2) for all n and is the same for even n.

    Args:
        model: functional model whose ZeroPadding2D layers all pad (0, 1) before a stride of 2.

    Returns:
        A new model with the same weights.
    """

    def edit_layer(layer, config):
        if isinstance(layer, keras.layers.ZeroPadding2D):
            return keras.layers.Activation("linear", name=layer.name)
        if config.get("padding") == "valid" and _is_strided(config):
            config["padding"] = "same"
        return layer.__class__.from_config(config)

    return _clone_with(model, edit_layer)


def dilate(model: keras.Model, output_stride: int) -> keras.Model:
    """Replaces the strides beyond an output stride by dilation.

    A strided layer whose input is already at the output stride loses its stride, and every
    convolution after it is dilated by the strides lost so far. The subsampled result equals
    that of the strided model (DeepLab's atrous convolution).

    Args:
        model: functional model with image input (B, None, None, 3).
        output_stride: stride of the last map, 8 or 16.

    Returns:
        A new model with the same weights.

    Raises:
        UserError: for another output stride.
    """
    if output_stride not in (8, 16):
        raise UserError(f"The output stride of {model.name!r} is {output_stride}: use 8 or 16.")
    strides = _measure_input_strides(model)

    def edit_layer(layer, config):
        excess = strides.get(layer.name, 1) // output_stride
        if _is_strided(config) and excess >= 1:
            config["strides"] = (1, 1)
        if excess > 1 and max(config.get("kernel_size") or (1,)) > 1:
            config["dilation_rate"] = (excess, excess)
        return layer.__class__.from_config(config)

    return _clone_with(model, edit_layer)


def freeze_batch_norm(model: keras.Model) -> None:
    """Freezes statistics, scales and offsets of every batch norm of a model, nested ones too."""
    # pylint: disable-next=protected-access
    for layer in model._flatten_layers(recursive=True, include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _is_strided(config):
    """Returns whether a layer's config holds a stride of 2."""
    return tuple(config.get("strides") or ()) == (2, 2)


def _clone_with(model, edit_layer):
    """Clones a functional model; edit_layer(layer, config) creates each layer."""
    clone = keras.models.clone_model(
        model, clone_function=lambda layer: edit_layer(layer, layer.get_config())
    )
    clone.set_weights(model.get_weights())
    return clone


def _measure_input_strides(model):
    """Returns {layer name: stride of its input}, computed from the shapes of one image size."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    inputs = {}
    for layer in layers:
        tensor = layer.input
        inputs[layer.name] = tensor[0] if isinstance(tensor, (list, tuple)) else tensor
    shapes = keras.Model(model.input, inputs).compute_output_shape((1, _PROBE_SIZE, _PROBE_SIZE, 3))
    # Padding adds a row or two; round to the nearest stride.
    return {
        name: round(_PROBE_SIZE / int(tuple(shape)[1]))
        for name, shape in shapes.items()
        if len(tuple(shape)) == 4
    }
