"""Every study by name, as the modules of `studies/` define them, in their order there."""

from search_spaces.studies import animals, digits, eurosat, expressions, faces, folder, landmarks
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy

STUDIES: dict[str, AnyStudy] = {
    study.name: study
    for module in (digits, faces, landmarks, animals, expressions, eurosat, folder)
    for study in vars(module).values()
    if isinstance(study, AblationStudy | SearchStudy)
}
