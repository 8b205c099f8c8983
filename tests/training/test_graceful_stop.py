import os
import signal

import pytest

from fashion.backend import coordination
from fashion.training.graceful_stop import GracefulStop


def test_the_first_signal_in_training_waits_for_the_end_of_the_step(caplog):
    caplog.set_level("INFO")
    with GracefulStop() as stop:
        stop.on_train_begin()
        os.kill(os.getpid(), signal.SIGTERM)
        assert "SIGTERM: stopping after this step" in caplog.text
        with pytest.raises(KeyboardInterrupt):
            stop.on_train_batch_end(0, {"loss": 1.0})


def test_a_signal_in_validation_stops_the_run():
    with GracefulStop() as stop:
        stop.on_train_begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop.on_test_batch_end(0)


def test_a_second_signal_stops_at_once():
    with GracefulStop() as stop:
        stop.on_train_begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_of_the_training_a_signal_stops_at_once():
    with GracefulStop() as stop:
        stop.on_train_end()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_several_processes_stop_after_the_same_step(monkeypatch):
    announced: dict[str, str] = {}
    monkeypatch.setattr(coordination, "connected", lambda: True)
    monkeypatch.setattr(coordination, "announce", announced.setdefault)
    monkeypatch.setattr(coordination, "announced", announced.get)
    signalled, other = GracefulStop(), GracefulStop()
    stopped = {signalled: 0, other: 0}
    for step in range(1, 5):
        signalled.requested = step >= 2
        for each in (other, signalled):
            try:
                each.on_train_batch_end(step)
            except coordination.StoppedTogether:
                stopped[each] = stopped[each] or step
    assert stopped == {signalled: 3, other: 3}


def test_the_former_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with GracefulStop():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
