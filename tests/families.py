"""Ten families of encoders by small configurations, as their own folders would have them; no file is needed."""

BERT_LIKE = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 60,
    "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8}
FAMILIES = {
    "bert": {"model_type": "bert", **BERT_LIKE},
    "roberta": {"model_type": "roberta", **BERT_LIKE, "pad_token_id": 1},
    "distilbert": {"model_type": "distilbert", "dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48,
                   "vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0},
    "electra": {"model_type": "electra", "embedding_size": 32, **BERT_LIKE},
    "deberta": {"model_type": "deberta", **BERT_LIKE, **RELATIVE},
    "deberta-v2": {"model_type": "deberta-v2", **BERT_LIKE, **RELATIVE, "share_att_key": True, "position_buckets": 8},
    "xlm-roberta": {"model_type": "xlm-roberta", **BERT_LIKE, "pad_token_id": 1},
    "modernbert": {"model_type": "modernbert", **BERT_LIKE, "global_attn_every_n_layers": 2, "local_attention": 4,
                   "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 2, "n_inner": 48, "n_positions": 40,
             "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    "llama": {"model_type": "llama", **BERT_LIKE, "num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 3},
}  # fmt: skip
"""Family → config.json: 3 blocks of 32 features, 60 tokens, 40 positions"""
