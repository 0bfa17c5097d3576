"""A user's metrics in a file of theirs, `mine.py`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.user_code.references import in_use, use

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Write]:
    """Writes the text of `mine.py`, which references lead to from then on."""
    before = in_use()

    def written(text: str) -> Path:
        file = tmp_path_factory.mktemp("theirs") / "mine.py"
        file.write_text(f"import random\nimport numpy as np\n{text}", encoding="utf-8")
        use({"": file.parent})
        return file

    yield written
    use(before)
