"""Network classes that torchvision does not have; imported only when a network is built."""
