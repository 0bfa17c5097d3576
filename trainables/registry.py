"""Every choice a trial has, by kind and name. A new component is one class and one line here.

Importing this module imports no torch: components build lazily.
"""

from core.component import Registry
from trainables.losses import ClassBalanced, CrossEntropy, FaceLoss, Focal, Loss, PointsLoss
from trainables.models.base import Model
from trainables.models.expression_cnn import ExpressionCNN
from trainables.models.googlenet import GoogLeNet
from trainables.models.libraries.models import TimmModel, TorchvisionModel
from trainables.models.nin import NiN
from trainables.models.resnet import ResNet18, ResNet34, ResNet50
from trainables.models.small_cnn import SmallCNN
from trainables.models.stage3 import Stage1, Stage3
from trainables.models.ultranet import UltraNet18
from trainables.models.vgg import VGG19
from trainables.optimizers import SGD, Adam, AdamThenSGD, AdamW, Optimizer, RMSprop
from trainables.own_components import OwnLoss, OwnModel, OwnOptimizer, OwnSchedule
from trainables.schedules import Constant, Cosine, MultiStep, Schedule, Step

LOSSES = Registry[Loss](
    {
        "ce": CrossEntropy,
        "class_balanced": ClassBalanced,
        "focal": Focal,
        "face": FaceLoss,
        "points": PointsLoss,
    },
    own=OwnLoss,
)

MODELS = Registry[Model](
    {
        "small_cnn": SmallCNN,
        "expression_cnn": ExpressionCNN,
        "resnet18": ResNet18,
        "resnet34": ResNet34,
        "resnet50": ResNet50,
        "ultranet18": UltraNet18,
        "vgg19": VGG19,
        "nin": NiN,
        "googlenet": GoogLeNet,
        "stage3": Stage3,
        "stage1": Stage1,
    },
    families={"torchvision": TorchvisionModel, "timm": TimmModel},
    own=OwnModel,
)

OPTIMIZERS = Registry[Optimizer](
    {
        "sgd": SGD,
        "adam": Adam,
        "adamw": AdamW,
        "rmsprop": RMSprop,
        "adam_then_sgd": AdamThenSGD,
    },
    own=OwnOptimizer,
)

SCHEDULES = Registry[Schedule](
    {"constant": Constant, "step": Step, "multistep": MultiStep, "cosine": Cosine}, own=OwnSchedule
)

# name: (module:class of the Trainable subclass, what it is)
WORKLOADS: dict[str, tuple[str, str]] = {
    "digits": ("trainables.workloads.digits:DigitsSmallCNN", "scikit-learn's 8 × 8 digits, small CNN"),
    "digits/resnet18": (
        "trainables.workloads.digits:DigitsResNet18",
        "scikit-learn's 8 × 8 digits, ResNet18 with a small stem",
    ),
    "folder": ("trainables.workloads.folder:FolderSmallCNN", "any class-folder set, small CNN"),
    "faces": ("trainables.workloads.faces:FacesStage3", "faces and non-faces with landmarks, stage-3 network"),
    "landmarks": ("trainables.workloads.faces:LandmarksStage1", "landmarks of face crops, stage-1 network"),
    "animals": ("trainables.workloads.animals:AnimalsVGG19", "photos of animals, VGG19"),
    "expressions": ("trainables.workloads.expressions:ExpressionsCNN", "facial expressions, baseline CNN"),
    "eurosat": ("trainables.workloads.eurosat:EuroSATUltraNet18", "satellite tiles, UltraNet18"),
    "folder/resnet18": ("trainables.workloads.folder:FolderResNet18", "any class-folder set, ResNet18"),
    "own": ("trainables.workloads.own:Own", "any network on any set of classes, both named by the study"),
}
