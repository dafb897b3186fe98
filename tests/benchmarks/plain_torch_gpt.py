"""The plain PyTorch script that language models are measured against; runs in its own environment.

    python plain_torch_gpt.py FILE [--steps N]

Trains a character model with the settings that nanoGPT's README gives for a CPU (4 layers, 4 heads,
128 channels, context 64, batches of 12, AdamW from 1e-3 to 1e-4, no dropout) on the first nine
tenths of a text, and prints its parameters, loss on the last tenth in nats a character, and the
tokens a second of training.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

LAYERS, HEADS, CHANNELS, CONTEXT, BATCH = 4, 4, 128, 64, 12
PEAK, LAST, WARMUP = 1e-3, 1e-4, 100
UNTIMED = 20  # first steps


class Block(nn.Module):
    """Attention and a dense network, each behind a norm and beside the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.LayerNorm(CHANNELS, bias=False) for _ in range(2))
        self.mixed = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False)
        self.out = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.up = nn.Linear(CHANNELS, 4 * CHANNELS, bias=False)
        self.down = nn.Linear(4 * CHANNELS, CHANNELS, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, time, channels)
        batch, length, _ = x.shape
        mixed = self.mixed(self.first(x)).view(batch, length, 3, HEADS, CHANNELS // HEADS)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)  # each (batch, heads, time, head_dim)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, CHANNELS))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class Gpt(nn.Module):
    """Token ids (batch, time) -> logits (batch, time, vocabulary)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, CHANNELS)
        self.places = nn.Embedding(CONTEXT, CHANNELS)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(CHANNELS, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                is_residual = name.endswith(("out.weight", "down.weight"))
                scale = 0.02 / math.sqrt(2 * LAYERS) if is_residual else 0.02
                nn.init.normal_(weight, std=scale)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        return self.norm(self.blocks(x)) @ self.tokens.weight.T


def measure(model: Gpt, ids: torch.Tensor) -> float:
    """Return the mean loss over windows that follow each other, each token predicted once."""
    count = (len(ids) - 1) // CONTEXT
    inputs = ids[: count * CONTEXT].view(count, CONTEXT)
    targets = ids[1 : count * CONTEXT + 1].view(count, CONTEXT)
    with torch.no_grad():
        losses = [
            functional.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum")
            for a, b in zip(inputs.split(64), targets.split(64), strict=True)
        ]
    return float(sum(losses)) / targets.numel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    text = arguments.file.read_text(encoding="utf-8")
    letters = {letter: place for place, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[letter] for letter in text])
    train, held_out = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    torch.manual_seed(0)
    model = Gpt(len(letters))
    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if weight.ndim != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99))
    began = time.perf_counter()
    for step in range(arguments.steps):
        if step == UNTIMED:
            began = time.perf_counter()
        done = max(0.0, (step - WARMUP) / max(1, arguments.steps - WARMUP))
        rate = LAST + 0.5 * (PEAK - LAST) * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = min(rate, PEAK * (step + 1) / WARMUP)
        starts = torch.randint(len(train) - CONTEXT, (BATCH,))
        inputs = torch.stack([train[start : start + CONTEXT] for start in starts])
        targets = torch.stack([train[start + 1 : start + 1 + CONTEXT] for start in starts])
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - began
    tokens = (arguments.steps - UNTIMED) * BATCH * CONTEXT
    size = sum(weight.numel() for weight in model.parameters())
    print(size, measure(model, held_out), tokens / seconds)


if __name__ == "__main__":
    main()
