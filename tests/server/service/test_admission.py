"""Who works, who waits, and who is sent away."""

import threading

from fashion.server.service.admission import LARGE_AT_ONCE, WorkQueue
from fashion.server.service.monitoring import Metrics


def test_large_work_is_done_by_few_and_small_work_passes_it():
    queue = WorkQueue(4, 0, Metrics())
    go_on, inside = threading.Event(), threading.Semaphore(0)
    most, now = 0, 0

    def work():
        nonlocal most, now
        with queue.workplace(), queue.large():
            now += 1
            most = max(most, now)
            inside.release()
            go_on.wait()
            now -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(LARGE_AT_ONCE):
        inside.acquire()
    with queue.workplace(), queue.large(False):
        assert now == LARGE_AT_ONCE
    go_on.set()
    for thread in threads:
        thread.join()
    assert most == LARGE_AT_ONCE


def test_where_one_works_large_work_is_done_too():
    queue = WorkQueue(1, 0, Metrics())
    for _ in range(2):
        with queue.workplace(), queue.large():
            pass
