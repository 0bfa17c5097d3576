"""Pairs on face photos: stage 3 classifies faces and finds landmarks, stage 1 finds landmarks alone."""

from trainables.trainable import VisionTrainable


class FacesStage3(VisionTrainable):
    dataset = "faces"
    model = "stage3"
    settings = {"loss.name": "face"}


class LandmarksStage1(VisionTrainable):
    """Stored crops cover 1.5 times the box in each axis, so that rotation brings in photo and not black corners."""

    dataset = "faces"
    model = "stage1"
    settings = {"loss.name": "points", "dataset.faces_only": True, "dataset.context": 1.5}
