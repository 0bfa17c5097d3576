"""Every study by name."""

from search_spaces.studies import animals, digits, eurosat, expressions, faces, folder, landmarks
from search_spaces.study import AnyStudy

STUDIES: dict[str, AnyStudy] = {
    study.name: study
    for study in (
        digits.LONG_TAIL,
        digits.SEARCH,
        faces.CLASS_WEIGHTS,
        faces.LOSS_WEIGHTS,
        faces.BN_DROPOUT,
        faces.SEARCH,
        landmarks.OPTIMIZERS,
        landmarks.SCHEDULES,
        landmarks.LADDER,
        landmarks.SEARCH,
        animals.NETWORK,
        animals.GOOGLENET_LADDER,
        animals.RESNET_LADDER,
        animals.STUCK,
        animals.SEARCH,
        expressions.LEARNING_RATE,
        expressions.LADDER,
        expressions.LEAVE_ONE_OUT,
        expressions.REGULARIZERS,
        expressions.SEARCH,
        eurosat.OPTIMIZERS,
        eurosat.AUGMENTATION_SCHEDULE,
        eurosat.LONG_TAIL,
        eurosat.SEARCH,
        folder.ABLATION,
        folder.SEARCH,
    )
}
