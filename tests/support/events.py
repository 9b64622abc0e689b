"""What TensorBoard would show of a run."""

import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator


def read_events(log_dir):
    """Reads the event files as TensorBoard does; gives plugin -> tag -> [(step, value)]."""
    events = EventAccumulator(str(log_dir), size_guidance={"tensors": 0})
    events.Reload()
    kinds = {}
    for tag in events.Tags()["tensors"]:
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        kinds.setdefault(plugin, {})[tag] = [
            (event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)
        ]
    return kinds
