"""Whether predictions are answered: not without the model, nor without what every log-in needs."""

import threading
import time
from collections.abc import Callable

from fashion.errors import StorageUnavailableError
from fashion.server.problems import STORAGE_RETRY_SECONDS, UnavailableError
from fashion.server.service.served_model import LOADING_SECONDS, ServedModel

CHECK_SECONDS = 1.0  # for how long an answer holds, because anybody may ask
NAMES = {"database": "The database", "redis": "Redis"}


class Readiness:
    """Checks what predictions depend on.

    Args:
        model: The served model.
        checks: Functions that raise StorageUnavailableError if a service is down.
    """

    def __init__(self, model: ServedModel, *checks: Callable[[], None]) -> None:
        self._model = model
        self._checks = checks
        self._lock = threading.Lock()
        self._until = 0.0
        self._failed: StorageUnavailableError | None = None

    def require(self) -> None:
        """Return if predictions are answered.

        Raises:
            UnavailableError: If the model is not loaded, the process is stopping, or a service is down.
        """
        if not self._model.ready:
            raise UnavailableError("not_ready", "The model is not ready.", retry_after=LOADING_SECONDS)
        failed = self._failed_check()
        if failed is not None:
            raise UnavailableError(
                failed.service,
                f"{NAMES[failed.service]} is unavailable, so nobody can log in.",
                retry_after=STORAGE_RETRY_SECONDS,
            )

    def _failed_check(self) -> StorageUnavailableError | None:
        # Never wait for another thread's check, which takes seconds while a service does not answer.
        if time.monotonic() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._failed = self._first_failure()
                self._until = time.monotonic() + CHECK_SECONDS
            finally:
                self._lock.release()
        return self._failed

    def _first_failure(self) -> StorageUnavailableError | None:
        for check in self._checks:
            try:
                check()
            except StorageUnavailableError as error:
                return error
        return None
