"""Every study by name."""

from search_spaces import digits, folder
from search_spaces.study import AnyStudy

STUDIES: dict[str, AnyStudy] = {
    study.name: study for study in (digits.LONG_TAIL, digits.SEARCH, folder.ABLATION, folder.SEARCH)
}
