"""Signals to a process that trains."""

import signal

import pytest

from drsl_tf.training.preemption import Preempted
from drsl_tf.training.preemption import Preemption


def test_a_second_use_forgets_the_signal_that_ended_the_first():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        preemption = Preemption()
        with pytest.raises(KeyboardInterrupt), preemption, preemption.held():
            signal.raise_signal(signal.SIGINT)
        with preemption:
            with preemption.held():
                pass
            assert not preemption.requested
        with pytest.raises(Preempted), preemption:
            preemption.stop()  # By another machine: no longer by Ctrl-C.
    finally:
        signal.signal(signal.SIGINT, before)
