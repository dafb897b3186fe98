"""The formats that models of this project are exported to, instead of the engine's.

Those of the engine hold a function from numbers to numbers; who runs a language model needs its
tokens, its template of chats and a cache as well.
"""

from ..engine.export.formats import OwnFormat

FORMATS = {
    "huggingface": OwnFormat(
        "exports.huggingface:write",
        "a folder for transformers, vLLM and llama.cpp, with what adapters have learnt in it",
    ),
    "adapter": OwnFormat(
        "exports.adapter:write", "the adapters of model.tuning lora or qlora alone, for PEFT"
    ),
}
