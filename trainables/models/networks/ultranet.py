"""UltraNet18's residual block, in the form that torchvision's ResNet builds its layers of."""

from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

REDUCTION = 16  # of squeeze-and-excitation's hidden layer, as in Hu et al. 2018


class UltraBlock(nn.Module):
    """3×3 conv (stride) – BN – ReLU – 3×3 depthwise conv – BN – 1×1 conv – BN – squeeze-and-excitation – add the
    shortcut – ReLU.

    The source says no more than that UltraBlock replaces BasicBlock: this composition is the project's own.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        *unused: object,
        **unused_too: object,
    ) -> None:
        """Ignores ResNet's further arguments (groups, width, dilation, norm layer): they have their default values."""
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, groups=planes, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.se = SqueezeExcitation(planes, planes // REDUCTION)
        self.downsample = downsample
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.bn3(self.conv3(self.bn2(self.conv2(x))))
        return self.relu2(self.se(x) + shortcut)
