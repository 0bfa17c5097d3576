"""Faces with landmarks: the lines of their text files, their boxes, and the data set made of them."""
