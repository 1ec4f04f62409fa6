"""The layers: `nn_layers` under its name here."""

from nn_layers import MLP as MLP
from nn_layers import RNN as RNN
from nn_layers import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from nn_layers import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from nn_layers import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from nn_layers import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from nn_layers import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from nn_layers import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from nn_layers import AdaptivePool as AdaptivePool
from nn_layers import AvgPool1d as AvgPool1d
from nn_layers import AvgPool2d as AvgPool2d
from nn_layers import AvgPool3d as AvgPool3d
from nn_layers import BatchNorm as BatchNorm
from nn_layers import Bidirectional as Bidirectional
from nn_layers import Conv as Conv
from nn_layers import Conv1d as Conv1d
from nn_layers import Conv2d as Conv2d
from nn_layers import Conv3d as Conv3d
from nn_layers import ConvTranspose as ConvTranspose
from nn_layers import ConvTranspose1d as ConvTranspose1d
from nn_layers import ConvTranspose2d as ConvTranspose2d
from nn_layers import ConvTranspose3d as ConvTranspose3d
from nn_layers import Dropout as Dropout
from nn_layers import Embedding as Embedding
from nn_layers import GroupNorm as GroupNorm
from nn_layers import GRUCell as GRUCell
from nn_layers import Identity as Identity
from nn_layers import KVCache as KVCache
from nn_layers import Lambda as Lambda
from nn_layers import LayerNorm as LayerNorm
from nn_layers import Linear as Linear
from nn_layers import LSTMCell as LSTMCell
from nn_layers import MaxPool1d as MaxPool1d
from nn_layers import MaxPool2d as MaxPool2d
from nn_layers import MaxPool3d as MaxPool3d
from nn_layers import MultiheadAttention as MultiheadAttention
from nn_layers import Pool as Pool
from nn_layers import PReLU as PReLU
from nn_layers import RMSNorm as RMSNorm
from nn_layers import RotaryPositionalEmbedding as RotaryPositionalEmbedding
from nn_layers import Sequential as Sequential
from nn_layers import ShapeError as ShapeError
from nn_layers import Shared as Shared
from nn_layers import SpectralNorm as SpectralNorm
from nn_layers import Stacked as Stacked
from nn_layers import State as State
from nn_layers import StatefulLayer as StatefulLayer
from nn_layers import StateIndex as StateIndex
from nn_layers import WeightNorm as WeightNorm
from nn_layers import delete_init_state as delete_init_state
from nn_layers import inference_mode as inference_mode
from nn_layers import make_with_state as make_with_state
from nn_layers import summary as summary

__all__ = [
    "MLP",
    "RNN",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AdaptivePool",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "Bidirectional",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Embedding",
    "GRUCell",
    "GroupNorm",
    "Identity",
    "KVCache",
    "LSTMCell",
    "Lambda",
    "LayerNorm",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MultiheadAttention",
    "PReLU",
    "Pool",
    "RMSNorm",
    "RotaryPositionalEmbedding",
    "Sequential",
    "ShapeError",
    "Shared",
    "SpectralNorm",
    "Stacked",
    "State",
    "StateIndex",
    "StatefulLayer",
    "WeightNorm",
    "delete_init_state",
    "inference_mode",
    "make_with_state",
    "summary",
]
