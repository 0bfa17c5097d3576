"""Where Ray runs: a private local one, started and stopped with the study."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

ATTEMPTS = 3  # at starting Ray, which times out now and then under load

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


@contextmanager
def ray_started() -> Iterator[None]:
    """A private local Ray for the length of the block; one that is already up is used and left alone."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    import ray

    if ray.is_initialized():
        yield
        return
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="error")
            break
        except Exception:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise
            time.sleep(2 * attempt)
    try:
        yield
    finally:
        ray.shutdown()
