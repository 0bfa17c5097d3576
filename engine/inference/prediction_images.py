"""Predictions drawn on the user's images: landmarks in red, or the class and its score in a strip below."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.faces.dataset import CLASSES
from datasets.sources.image_decoding import decode_photo, remarks
from engine.inference.named_images import Prediction, Values

NON_FACE = CLASSES[0]
RED, INK, PAPER = (255, 32, 32), (0, 0, 0), (255, 255, 255)
SMALLEST, LARGEST = 224, 1024  # pixels of a drawing's longer side, without its strip
TEXT, STRIP = 14, 22  # pixels


def draw_all(found: Sequence[Prediction], classes: Sequence[str], folder: Path) -> list[Path]:
    """One `NAME-predicted.png` per photo with all its boxes; a name that several photos share gets a number."""
    photos: dict[Path, list[Prediction]] = {}
    for prediction in found:
        photos.setdefault(prediction.asked.file, []).append(prediction)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for photo, own in photos.items():
        names = (folder / f"{photo.stem}{f'-{n}' if n > 1 else ''}-predicted.png" for n in count(1))
        files.append(next(name for name in names if name not in files))
        drawn(photo, own, classes).save(files[-1])
    return files


def drawn(photo: Path, own: Sequence[Prediction], classes: Sequence[str]) -> Image.Image:
    """The upright photo with all its predictions."""
    with remarks():  # which `unreadable` has told
        picture = Image.fromarray(decode_photo(photo, 3))
    times = _times(max(picture.size))
    size = (max(1, round(picture.width * times)), max(1, round(picture.height * times)))
    picture = picture.resize(size, Image.Resampling.NEAREST if times >= 1 else Image.Resampling.BILINEAR)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT)
    radius = max(2.0, max(picture.size) / 120)
    for prediction in own:
        if prediction.asked.box:
            corners = [value * times for value in prediction.asked.box]
            pen.rectangle(corners, outline=RED, width=2)
            if prediction.scores is not None:
                text, place = caption(prediction, classes), (corners[0] + 4, corners[1] + 3)
                pen.rectangle(pen.textbbox(place, text, font=font), fill=RED, outline=RED, width=3)
                pen.text(place, text, fill=PAPER, font=font)
        for x, y in (_landmarks(prediction, classes) * times).tolist():
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=RED, outline=PAPER)
    whole = [prediction for prediction in own if prediction.asked.box is None and prediction.scores is not None]
    return _with_strip(picture, caption(whole[0], classes), font) if whole else picture


def _landmarks(prediction: Prediction, classes: Sequence[str]) -> Values:
    """(L, 2) landmarks to draw: none for an image classified as non-face, whatever the landmark branch predicts."""
    hidden = prediction.scores is not None and classes[prediction.best()] == NON_FACE
    return np.zeros((0, 2)) if hidden or prediction.points is None else prediction.points


def caption(prediction: Prediction, classes: Sequence[str]) -> str:
    assert prediction.scores is not None
    return f"{classes[prediction.best()]} {prediction.scores.max():.3f}"


def _times(side: int) -> float:
    """The factor by which a photo is resized: a whole number for tiny ones, so that every pixel is a square."""
    return -(-SMALLEST // side) if side < SMALLEST else min(1.0, LARGEST / side)


def _with_strip(picture: Image.Image, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """The image over a strip with the text, as wide as the wider of the two."""
    width = max(picture.width, round(font.getbbox(text)[2]) + 8)
    canvas = Image.new("RGB", (width, picture.height + STRIP), PAPER)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    ImageDraw.Draw(canvas).text((4, picture.height + 2), text, fill=INK, font=font)
    return canvas
