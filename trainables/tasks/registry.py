"""The tasks by name (`Loss.task`); not in `trainables.registry`, because tasks import torch."""

from trainables.tasks.base import Task
from trainables.tasks.classification import Classification
from trainables.tasks.faces import Faces
from trainables.tasks.landmarks import Landmarks

TASKS: dict[str, type[Task]] = {"classification": Classification, "faces": Faces, "landmarks": Landmarks}
