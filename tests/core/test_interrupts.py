import os
import signal
import threading

import pytest

from fcis.core.interrupts import StopRequest, Terminated, raise_at_sigterm

KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@pytest.fixture(autouse=True)
def handlers():
    """Handlers of the process are as they were."""
    before = {number: signal.getsignal(number) for number in KINDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", KINDS)
def test_the_first_request_waits_until_it_is_asked_for(number, caplog):
    caplog.set_level("INFO", logger="fcis")
    before = signal.getsignal(number)
    with StopRequest("wait") as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and caplog.messages == ["wait"]
        with pytest.raises(KeyboardInterrupt) as stopped:
            request.stop()
    assert type(stopped.value) is KINDS[number]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in KINDS for b in KINDS])
def test_the_second_one_stops_at_once(first, second):
    with StopRequest("wait"):
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt) as stopped:
            os.kill(os.getpid(), second)
    assert type(stopped.value) is KINDS[second]


def test_a_request_to_another_process_stops_as_ctrl_c_does():
    with StopRequest("wait") as request, pytest.raises(KeyboardInterrupt) as stopped:
        request.stop()
    assert type(stopped.value) is KeyboardInterrupt


def test_sigterm_stops_as_ctrl_c_does():
    raise_at_sigterm()
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_catch_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        raise_at_sigterm()
        with StopRequest("wait") as request:
            seen.append(bool(request))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False] and signal.getsignal(signal.SIGTERM) is before
