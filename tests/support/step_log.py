"""A callback that real training processes write their steps down with."""

import keras


class StepLog(keras.callbacks.Callback):
    """Appends a line "ROUND STEPS_DONE" to a file after every step, before its checkpoint."""

    def __init__(self, path):
        super().__init__()
        self._path = path
        self._round = None

    def on_epoch_begin(self, epoch, logs=None):
        self._round = epoch

    def on_train_batch_end(self, batch, logs=None):
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{self._round} {batch + 1}\n")
