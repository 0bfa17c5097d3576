"""Photos of animals, 224 × 224, and the networks of 2012 to 2015."""

from trainables.trainable import VisionTrainable


class AnimalsVGG19(VisionTrainable):
    dataset = "animals"
    model = "vgg19"
