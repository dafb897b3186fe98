"""Logits of an exported folder as ``transformers`` computes them, in a process of its own.

It imports nothing of the project, so that any Python that has ``torch`` and ``transformers`` runs
it: ``python -P reload.py REQUEST.json RESULT.json``. Logits go to ``logits.npy`` beside the result.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(request_file: Path, result_file: Path) -> None:
    """Answer a request.

    Args:
        request_file: JSON with ``folder``, ``adapter`` (a folder or null), ``tokens`` (rows of
            ids), ``texts``, and ``messages`` of a chat or null.
        result_file: gets JSON with ``library``, ``ids`` of the texts and of the ``chat``.
    """
    import numpy as np
    import torch
    import transformers

    request = json.loads(request_file.read_text(encoding="utf-8"))
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        request["folder"], dtype=torch.float32, attn_implementation="eager"
    )
    libraries = [f"transformers {transformers.__version__}"]
    if request["adapter"]:
        import peft

        model = peft.PeftModel.from_pretrained(model, request["adapter"])
        libraries.append(f"PEFT {peft.__version__}")
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor(request["tokens"])).logits
    np.save(result_file.with_name("logits.npy"), logits.float().numpy())
    result: dict[str, Any] = {"library": " and ".join(libraries), "ids": [], "chat": None}
    if request["texts"]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(request["folder"])
        result["ids"] = [
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in request["texts"]
        ]
        if request["messages"]:
            text = tokenizer.apply_chat_template(
                request["messages"], tokenize=False, add_generation_prompt=True
            )
            result["chat"] = tokenizer(text, add_special_tokens=False)["input_ids"]
    result_file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
