"""Random changes of training batches on their device: of images, and of images with their landmarks."""
