"""The README of an exported model: how it is served, converted and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.export.formats import Export
from .check import Comparison

SERVE = """\
## Serving it

With [vLLM](https://docs.vllm.ai) (`pip install vllm`), which speaks OpenAI's protocol:

```bash
vllm serve . --served-model-name {name} --max-model-len {context}
```

As a GGUF file for [llama.cpp](https://github.com/ggml-org/llama.cpp) and what is built on it, such
as Ollama and LM Studio:

```bash
python llama.cpp/convert_hf_to_gguf.py . --outfile {name}.gguf --outtype f16
llama.cpp/build/bin/llama-server -m {name}.gguf
```

Neither was run where this folder was written."""

USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=50)[0]))
```"""

CHAT = """\
`chat_template.jinja` writes chats as the model was trained on them:
`tokenizer.apply_chat_template(messages)`."""

ADAPTER = """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, ".")
```

With [vLLM](https://docs.vllm.ai), beside other adapters of the same model:

```bash
vllm serve {base} --enable-lora --lora-modules {name}=. --max-lora-rank {rank}
```

That was not run where this folder was written. Of GPT-2, whose attention is one layer, the
adapters have several ranks, which vLLM refuses."""


def describe_folder(
    export: Export,
    config: dict[str, Any],
    comparison: Comparison,
    notes: Sequence[str],
    is_chat: bool,
) -> str:
    """Return the README of a model in Hugging Face's form.

    Args:
        export: the trained model.
        config: ``config.json``.
        comparison: with the trained model.
        notes: further sentences about it.
        is_chat: whether there is a template of chats.
    """
    context = config.get("max_position_embeddings", config.get("n_positions"))
    notice = export.model.task.notice
    parts = [
        f"# {export.name}",
        *([notice] if notice else []),
        f"A `{config['architectures'][0]}` in float32, with adapters, if there were any, in its "
        f"weights. It takes {context} tokens.",
        USE,
        *([CHAT] if is_chat else []),
        SERVE.format(name=export.name, context=context),
        "## Beside the trained model",
        "\n".join([comparison.describe(), *notes]),
    ]
    return "\n\n".join(parts) + "\n"


def describe_adapter(export: Export, preset: str, notes: Sequence[str]) -> str:
    """Return the README of adapters.

    Args:
        export: the trained model.
        preset: that the adapters belong to.
        notes: sentences about the comparison.
    """
    from .adapter import name_base

    model = export.config.model
    parts = [
        f"# {export.name}",
        f"Adapters ({model.tuning}, rank {model.lora_rank}) for `{preset}`: without it they are "
        "nothing.",
        ADAPTER.format(base=name_base(preset), name=export.name, rank=model.lora_rank),
        "## Beside the trained model",
        "\n".join(notes),
    ]
    return "\n\n".join(parts) + "\n"
