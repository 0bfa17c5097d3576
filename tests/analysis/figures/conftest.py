"""Charts of figures that a test builds by itself, outside of a report."""

from collections.abc import Iterator

import pytest
from altair.utils import schemapi

from analysis.figures.theme import _copied


@pytest.fixture(scope="session", autouse=True)
def copied_as_in_reports() -> Iterator[None]:
    """Altair copies charts as it does within a report, which takes half the time; they are validated as ever."""

    def copied(value: object, by_ref: set[str]) -> object:
        with schemapi.debug_mode(False):
            return _copied(value, by_ref)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemapi, "_deep_copy", copied)
        yield
