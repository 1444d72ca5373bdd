"""The Inception-v3 variant whose pool features define the published FID.

torchvision's Inception3 with the four differences of the original TensorFlow graph: 1,008 classes, average pools that do
not count their padding (blocks A, C, and the first E), and a max pool in the last E block.

Source: Szegedy et al. 2016; Heusel et al. 2017; the weights are those that pytorch-fid converted from the 2015 graph.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception as tv

from course_lib.checkpoints import sha256
from course_lib.data import data_folder

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


class BlockA(tv.InceptionA):
    """Three towers beside an average pool that leaves its padding out."""

    def forward(self, x: Tensor) -> Tensor:
        tower5 = self.branch5x5_2(self.branch5x5_1(x))
        tower3 = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), tower5, tower3, self.branch_pool(_average(x))], 1)


class BlockC(tv.InceptionC):
    """Factored 7x7 towers beside an average pool that leaves its padding out."""

    def forward(self, x: Tensor) -> Tensor:
        tower = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_1(x)
        for step in (self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5):
            double = step(double)
        return torch.cat([self.branch1x1(x), tower, double, self.branch_pool(_average(x))], 1)


class BlockE(tv.InceptionE):
    """Expanded 3x3 towers beside a pool: the average without padding in the first, the maximum in the last."""

    def __init__(self, in_channels: int, pool: str):
        super().__init__(in_channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        tower = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = (
            _average(x) if self.pool == "average" else F.max_pool2d(x, kernel_size=3, stride=1, padding=1)
        )
        parts = [
            self.branch1x1(x),
            self.branch3x3_2a(tower),
            self.branch3x3_2b(tower),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(parts, 1)


class FIDInception(nn.Module):
    """Images `(B, 3, H, W)` in [0, 1] to pool features `(B, 2048)`."""

    def __init__(self):
        super().__init__()
        net = tv.Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        net.Mixed_5b, net.Mixed_5c, net.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        net.Mixed_6b, net.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        net.Mixed_6d, net.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        net.Mixed_7b, net.Mixed_7c = BlockE(1280, "average"), BlockE(2048, "max")
        net.fc = nn.Linear(2048, 1008)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        x = 2 * F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False) - 1
        net = self.net
        x = net.Conv2d_2b_3x3(net.Conv2d_2a_3x3(net.Conv2d_1a_3x3(x)))
        x = net.Conv2d_4a_3x3(net.Conv2d_3b_1x1(net.maxpool1(x)))
        x = net.maxpool2(x)  # (B, 192, 35, 35)
        x = net.Mixed_5d(net.Mixed_5c(net.Mixed_5b(x)))
        x = net.Mixed_6e(net.Mixed_6d(net.Mixed_6c(net.Mixed_6b(net.Mixed_6a(x)))))  # (B, 768, 17, 17)
        x = net.Mixed_7c(net.Mixed_7b(net.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean((2, 3))


def load_inception(root: str | Path | None = None) -> tuple[FIDInception, str]:
    """The network with the published weights, in eval mode, and the weights' SHA-256.

    Args:
        root: data folder; the file is looked for in its `inception/`, and put there if it can be downloaded.

    Raises:
        FileNotFoundError: the weights are not there and could not be downloaded.
    """
    folder = data_folder(root) / "inception"
    path = folder / FILE
    if not path.exists():
        try:
            torch.hub.load_state_dict_from_url(
                URL, str(folder), check_hash=True, progress=False, weights_only=True
            )
        except Exception as error:
            raise FileNotFoundError(
                f"the Inception weights are not at {path} and could not be downloaded ({error}). Fetch {URL} "
                "on a machine with a network and put the file there; features='lenet' needs no download"
            ) from error
    network = FIDInception()
    network.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval(), sha256(path)
