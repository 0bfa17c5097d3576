"""Pairs on face photos: stage 3 tells faces from non-faces and marks them, stage 1 marks faces alone."""

from trainables.trainable import VisionTrainable


class FacesStage3(VisionTrainable):
    dataset = "faces"
    model = "stage3"
    settings = {"loss.name": "face"}


class LandmarksStage1(VisionTrainable):
    """Crops are stored with half their size around them, so that turning one needs no black corner."""

    dataset = "faces"
    model = "stage1"
    settings = {"loss.name": "points", "dataset.faces_only": True, "dataset.context": 1.5}
