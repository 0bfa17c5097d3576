"""Pairs on any class-folder set of the user's: `--set dataset.path=DIR`."""

from trainables.trainable import VisionTrainable


class FolderSmallCNN(VisionTrainable):
    dataset = "image_folder"
    model = "small_cnn"
    settings = {"model.channels": [32, 64, 128], "model.hidden": 128}


class FolderResNet18(VisionTrainable):
    dataset = "image_folder"
    model = "resnet18"
