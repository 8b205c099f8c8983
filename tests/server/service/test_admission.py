"""Which requests are processed, which wait, and which are refused."""

import threading

from fashion.server.service.admission import MAX_LARGE_IMAGES, AdmissionControl
from fashion.server.service.monitoring import Metrics


def test_few_large_images_are_decoded_at_once_and_small_ones_pass_them():
    control = AdmissionControl(4, 0, Metrics())
    go_on, inside = threading.Event(), threading.Semaphore(0)
    most, now = 0, 0

    def work():
        nonlocal most, now
        with control.decode_slot(), control.large_image_slot():
            now += 1
            most = max(most, now)
            inside.release()
            go_on.wait()
            now -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(MAX_LARGE_IMAGES):
        inside.acquire()
    with control.decode_slot(), control.large_image_slot(False):
        assert now == MAX_LARGE_IMAGES
    go_on.set()
    for thread in threads:
        thread.join()
    assert most == MAX_LARGE_IMAGES


def test_with_a_single_slot_large_images_are_decoded_too():
    control = AdmissionControl(1, 0, Metrics())
    for _ in range(2):
        with control.decode_slot(), control.large_image_slot():
            pass
