"""Networks that several chapters use: plain functions of tensors, no objective and no noise inside."""

from course_lib.nn.conv import ConvDecoder, ConvEncoder
from course_lib.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from course_lib.nn.lenet import LeNet
from course_lib.nn.lipschitz import LipschitzMLP
from course_lib.nn.mlp import MLP, TimeMLP, sinusoidal_embedding
from course_lib.nn.time_discriminator import PointDiscriminator, TimeDiscriminator
from course_lib.nn.unet import UNet

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "LeNet",
    "LipschitzMLP",
    "PointDiscriminator",
    "TimeDiscriminator",
    "TimeMLP",
    "UNet",
    "sinusoidal_embedding",
]
