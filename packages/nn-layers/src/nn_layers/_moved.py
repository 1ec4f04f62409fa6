"""Where names stand now that pickles written before 0.1.0 hold, by the module they stood in.

It stays for one release: it goes with 0.2.0, and with it the call of `moved_names`.
"""

MOVED = {
    "_adaptive_pool.AdaptivePool": "._conv.adaptive_pool:AdaptivePool",
    "_batch_norm.BatchNorm": "._normalisation.batch_norm:BatchNorm",
    "_conv_transpose.ConvTranspose": "._conv.conv_transpose:ConvTranspose",
    "_dropout.Dropout": "._dense.dropout:Dropout",
    "_embedding.Embedding": "._dense.embedding:Embedding",
    "_group_norm.GroupNorm": "._normalisation.group_norm:GroupNorm",
    "_linear.Identity": "._dense.linear:Identity",
    "_linear.Linear": "._dense.linear:Linear",
    "_mlp.MLP": "._dense.mlp:MLP",
    "_mlp._identity": "._dense.mlp:_identity",
    "_norm.ExampleNorm": "._normalisation.layer_norm:ExampleNorm",
    "_norm.LayerNorm": "._normalisation.layer_norm:LayerNorm",
    "_pool.Pool": "._conv.pool:Pool",
    "_pool._AvgPool": "._conv.pool:_AvgPool",
    "_pool._MaxPool": "._conv.pool:_MaxPool",
    "_prelu.PReLU": "._dense.prelu:PReLU",
    "_rms_norm.RMSNorm": "._normalisation.rms_norm:RMSNorm",
    "_rnn.Bidirectional": "._recurrent.bidirectional:Bidirectional",
    "_rnn.RNN": "._recurrent.rnn:RNN",
    "_rotary.RotaryPositionalEmbedding": "._attention.rotary:RotaryPositionalEmbedding",
    "_sequential.Lambda": "._models.sequential:Lambda",
    "_sequential.Sequential": "._models.sequential:Sequential",
    "_shared.Shared": "._models.shared:Shared",
    "_shared.SharedNode": "._models.shared:SharedNode",
    "_spectral_norm.SpectralNorm": "._normalisation.spectral_norm:SpectralNorm",
    "_stacked.Stacked": "._models.stacked:Stacked",
    "_weight_norm.WeightNorm": "._normalisation.weight_norm:WeightNorm",
    "_weight_norm._norm_of": "._normalisation.weight_norm:_norm_of",
}
