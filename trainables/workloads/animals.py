"""VGG19 on photos of animals, 224 × 224."""

from trainables.trainable import VisionTrainable


class AnimalsVGG19(VisionTrainable):
    dataset = "animals"
    model = "vgg19"
