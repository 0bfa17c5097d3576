"""The stage-3 face network: one backbone, a landmark branch, and a class branch that its landmark-only form lacks."""

from torch import Tensor, nn


class Stage3Network(nn.Module):
    """Grey 112 × 112 crops to (class logits (B, classes), points (B, points)); without classes, to the points alone."""

    def __init__(self, channels: int, classes: int | None, points: int) -> None:
        super().__init__()
        self.conv1_1, self.prelu1_1 = nn.Conv2d(channels, 8, 5, stride=2), nn.PReLU()
        self.pool1 = nn.AvgPool2d(2, ceil_mode=True)
        self.conv2_1, self.prelu2_1 = nn.Conv2d(8, 16, 3), nn.PReLU()
        self.conv2_2, self.prelu2_2 = nn.Conv2d(16, 16, 3), nn.PReLU()
        self.pool2 = nn.AvgPool2d(2, ceil_mode=True)
        self.conv3_1, self.prelu3_1 = nn.Conv2d(16, 24, 3), nn.PReLU()
        self.conv3_2, self.prelu3_2 = nn.Conv2d(24, 24, 3), nn.PReLU()
        self.pool3 = nn.AvgPool2d(2, ceil_mode=True)
        self.conv4_1, self.prelu4_1 = nn.Conv2d(24, 40, 3, padding=1), nn.PReLU()

        self.conv4_2, self.prelu4_2 = nn.Conv2d(40, 80, 3, padding=1), nn.PReLU()
        self.flatten = nn.Flatten()
        self.ip1, self.prelu_ip1 = nn.Linear(80 * 4 * 4, 128), nn.PReLU()
        self.ip2, self.prelu_ip2 = nn.Linear(128, 128), nn.PReLU()
        self.ip3 = nn.Linear(128, points)

        self.classifies = classes is not None
        if classes is not None:
            self.conv4_2_cls, self.prelu4_2_cls = nn.Conv2d(40, 40, 3, padding=1), nn.PReLU()
            self.flatten_cls = nn.Flatten()
            self.ip1_cls, self.prelu_ip1_cls = nn.Linear(40 * 4 * 4, 128), nn.PReLU()
            self.ip2_cls, self.prelu_ip2_cls = nn.Linear(128, 128), nn.PReLU()
            self.ip3_cls = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1_1(self.conv1_1(images)))
        x = self.prelu2_1(self.conv2_1(x))
        x = self.pool2(self.prelu2_2(self.conv2_2(x)))
        x = self.prelu3_1(self.conv3_1(x))
        x = self.pool3(self.prelu3_2(self.conv3_2(x)))
        x = self.prelu4_1(self.conv4_1(x))

        points = self.flatten(self.prelu4_2(self.conv4_2(x)))
        points = self.ip3(self.prelu_ip2(self.ip2(self.prelu_ip1(self.ip1(points)))))
        if not self.classifies:
            return points
        logits = self.flatten_cls(self.prelu4_2_cls(self.conv4_2_cls(x)))
        logits = self.ip3_cls(self.prelu_ip2_cls(self.ip2_cls(self.prelu_ip1_cls(self.ip1_cls(logits)))))
        return logits, points
