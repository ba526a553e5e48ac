"""Work that gives way to queries."""

import os
import threading

import pytest

from quada.server.patience import Patience


@pytest.fixture
def patience():
    made = Patience()
    yield made
    made.close()


def where() -> tuple[int, int]:
    return threading.get_ident(), os.sched_getscheduler(0)


def test_work_is_done_in_idle_moments_and_its_outcome_given(patience) -> None:
    thread, policy = patience.run(where)
    assert thread != threading.get_ident()
    assert policy == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "the caller stays what it was"
    with pytest.raises(ZeroDivisionError):
        patience.run(lambda: 1 // 0)


def test_work_that_hardly_got_to_run_is_done_at_the_callers_priority_next(patience) -> None:
    patience.note(took_s=10.0, cpu_s=0.1)
    assert not patience.is_patient
    assert patience.run(where) == (threading.get_ident(), os.SCHED_OTHER)


def test_waiting_for_a_disk_for_a_moment_is_no_starving(patience) -> None:
    patience.note(took_s=0.9, cpu_s=0.0)
    patience.note(took_s=10.0, cpu_s=5.0)
    assert patience.is_patient


def test_a_thread_that_is_not_heard_of_is_not_waited_for(patience) -> None:
    has_begun, is_over = threading.Event(), threading.Event()

    def starve() -> None:
        has_begun.set()
        is_over.wait(60)

    busy = threading.Thread(target=patience.run, args=(starve,))
    busy.start()
    try:
        assert has_begun.wait(10)
        assert patience.run(where)[0] == threading.get_ident()
        assert not patience.is_patient
    finally:
        is_over.set()
        busy.join(10)
