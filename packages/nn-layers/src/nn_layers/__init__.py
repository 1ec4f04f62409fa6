"""Neural-network layers that are JAX PyTrees."""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names
from tree_surgery.extend import moved_names as _moved_names

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from ._attention.kv_cache import KVCache as KVCache
    from ._attention.multihead import MultiheadAttention as MultiheadAttention
    from ._attention.rotary import RotaryPositionalEmbedding as RotaryPositionalEmbedding
    from ._conv.adaptive_pool import AdaptiveAvgPool1d as AdaptiveAvgPool1d
    from ._conv.adaptive_pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d
    from ._conv.adaptive_pool import AdaptiveAvgPool3d as AdaptiveAvgPool3d
    from ._conv.adaptive_pool import AdaptiveMaxPool1d as AdaptiveMaxPool1d
    from ._conv.adaptive_pool import AdaptiveMaxPool2d as AdaptiveMaxPool2d
    from ._conv.adaptive_pool import AdaptiveMaxPool3d as AdaptiveMaxPool3d
    from ._conv.adaptive_pool import AdaptivePool as AdaptivePool
    from ._conv.conv import Conv as Conv
    from ._conv.conv import Conv1d as Conv1d
    from ._conv.conv import Conv2d as Conv2d
    from ._conv.conv import Conv3d as Conv3d
    from ._conv.conv_transpose import ConvTranspose as ConvTranspose
    from ._conv.conv_transpose import ConvTranspose1d as ConvTranspose1d
    from ._conv.conv_transpose import ConvTranspose2d as ConvTranspose2d
    from ._conv.conv_transpose import ConvTranspose3d as ConvTranspose3d
    from ._conv.pool import AvgPool1d as AvgPool1d
    from ._conv.pool import AvgPool2d as AvgPool2d
    from ._conv.pool import AvgPool3d as AvgPool3d
    from ._conv.pool import MaxPool1d as MaxPool1d
    from ._conv.pool import MaxPool2d as MaxPool2d
    from ._conv.pool import MaxPool3d as MaxPool3d
    from ._conv.pool import Pool as Pool
    from ._core.layer_protocol import StatefulLayer as StatefulLayer
    from ._core.shape_errors import ShapeError as ShapeError
    from ._dense.dropout import Dropout as Dropout
    from ._dense.embedding import Embedding as Embedding
    from ._dense.linear import Identity as Identity
    from ._dense.linear import Linear as Linear
    from ._dense.mlp import MLP as MLP
    from ._dense.prelu import PReLU as PReLU
    from ._models.gather import gather_where_used as gather_where_used
    from ._models.inference import inference_mode as inference_mode
    from ._models.inference import tree_inference as tree_inference
    from ._models.sequence_parallel import sequence_parallel as sequence_parallel
    from ._models.sequential import Lambda as Lambda
    from ._models.sequential import Sequential as Sequential
    from ._models.shared import Shared as Shared
    from ._models.stacked import Stacked as Stacked
    from ._models.summary import summary as summary
    from ._models.tensor_parallel import tensor_parallel as tensor_parallel
    from ._normalisation.batch_norm import BatchNorm as BatchNorm
    from ._normalisation.group_norm import GroupNorm as GroupNorm
    from ._normalisation.layer_norm import LayerNorm as LayerNorm
    from ._normalisation.rms_norm import RMSNorm as RMSNorm
    from ._normalisation.spectral_norm import SpectralNorm as SpectralNorm
    from ._normalisation.weight_norm import WeightNorm as WeightNorm
    from ._recurrent.bidirectional import Bidirectional as Bidirectional
    from ._recurrent.gru_cell import GRUCell as GRUCell
    from ._recurrent.lstm_cell import LSTMCell as LSTMCell
    from ._recurrent.rnn import RNN as RNN
    from ._state.make_with_state import delete_init_state as delete_init_state
    from ._state.make_with_state import make_with_state as make_with_state
    from ._state.state import State as State
    from ._state.state_index import StateIndex as StateIndex
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._attention.kv_cache": "KVCache",
            "._attention.multihead": "MultiheadAttention",
            "._attention.rotary": "RotaryPositionalEmbedding",
            "._conv.adaptive_pool": (
                "AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, "
                "AdaptiveMaxPool2d, AdaptiveMaxPool3d, AdaptivePool"
            ),
            "._conv.conv": "Conv, Conv1d, Conv2d, Conv3d",
            "._conv.conv_transpose": (
                "ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d"
            ),
            "._conv.pool": "AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d, Pool",
            "._core.layer_protocol": "StatefulLayer",
            "._core.shape_errors": "ShapeError",
            "._dense.dropout": "Dropout",
            "._dense.embedding": "Embedding",
            "._dense.linear": "Identity, Linear",
            "._dense.mlp": "MLP",
            "._dense.prelu": "PReLU",
            "._models.gather": "gather_where_used",
            "._models.inference": "inference_mode, tree_inference",
            "._models.sequence_parallel": "sequence_parallel",
            "._models.sequential": "Lambda, Sequential",
            "._models.shared": "Shared",
            "._models.stacked": "Stacked",
            "._models.summary": "summary",
            "._models.tensor_parallel": "tensor_parallel",
            "._normalisation.batch_norm": "BatchNorm",
            "._normalisation.group_norm": "GroupNorm",
            "._normalisation.layer_norm": "LayerNorm",
            "._normalisation.rms_norm": "RMSNorm",
            "._normalisation.spectral_norm": "SpectralNorm",
            "._normalisation.weight_norm": "WeightNorm",
            "._recurrent.bidirectional": "Bidirectional",
            "._recurrent.gru_cell": "GRUCell",
            "._recurrent.lstm_cell": "LSTMCell",
            "._recurrent.rnn": "RNN",
            "._state.make_with_state": "delete_init_state, make_with_state",
            "._state.state": "State",
            "._state.state_index": "StateIndex",
        },
    )

# Of `_moved.py`, which is imported when an old pickle is read. Until 0.2.0.
_moved_names(
    __name__,
    "_adaptive_pool _batch_norm _conv_transpose _dropout _embedding _group_norm _linear _mlp "
    "_norm _pool _prelu _rms_norm _rnn _rotary _sequential _shared _spectral_norm "
    "_stacked _weight_norm",
)
