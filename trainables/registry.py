"""Every choice a trial has, by kind and name. A new component is one class and one line here.

Importing this module imports no torch: components build lazily.
"""

from trainables.losses import ClassBalanced, CrossEntropy, Focal, Loss
from trainables.models.base import Model
from trainables.models.resnet import ResNet18
from trainables.models.small_cnn import SmallCNN
from trainables.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from trainables.schedules import Constant, Cosine, MultiStep, Schedule, Step

LOSSES: dict[str, type[Loss]] = {"ce": CrossEntropy, "class_balanced": ClassBalanced, "focal": Focal}

MODELS: dict[str, type[Model]] = {"small_cnn": SmallCNN, "resnet18": ResNet18}

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}

SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "step": Step, "multistep": MultiStep, "cosine": Cosine}

# name: (module:class of the Trainable subclass, what it is)
WORKLOADS: dict[str, tuple[str, str]] = {
    "digits": ("trainables.digits:DigitsSmallCNN", "scikit-learn's 8 × 8 digits, small CNN"),
    "digits/resnet18": ("trainables.digits:DigitsResNet18", "scikit-learn's 8 × 8 digits, ResNet18 with a small stem"),
    "folder": ("trainables.folder:FolderSmallCNN", "any class-folder set, small CNN"),
    "folder/resnet18": ("trainables.folder:FolderResNet18", "any class-folder set, ResNet18"),
}
