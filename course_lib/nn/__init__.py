"""Networks that several chapters use: plain functions of tensors, no objective and no noise inside."""

from course_lib.nn.conv import ConvDecoder, ConvEncoder
from course_lib.nn.lenet import LeNet
from course_lib.nn.lipschitz import LipschitzMLP
from course_lib.nn.mlp import MLP

__all__ = ["MLP", "ConvDecoder", "ConvEncoder", "LeNet", "LipschitzMLP"]
