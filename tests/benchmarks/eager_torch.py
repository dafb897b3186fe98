"""The plain PyTorch script that the projects are measured against; runs in its own environment.

    python eager_torch.py --epochs N

Trains the project's CNN eagerly on the same digits and prints steps per second, the first epoch
aside.
"""

import argparse
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

BATCH_SIZE = 32
VALIDATION, TEST = 179, 359  # examples, as in the project


def load() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Training and validation split: images (size, 1, 8, 8) in [0, 1] and labels (size,)."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    validation, train = order[TEST : TEST + VALIDATION], order[TEST + VALIDATION :]
    return (images[train], labels[train]), (images[validation], labels[validation])


class Standardized(nn.Module):
    """Pixels with mean 0 and deviation 1 over these images."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.std = images.mean(), images.std()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def cnn(images: torch.Tensor) -> nn.Module:
    """The project's default model; inputs are standardised as these images are."""
    return nn.Sequential(
        Standardized(images),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(48, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    epochs = parser.parse_args().epochs
    (images, labels), validation = load()
    model, criterion = cnn(images), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    ends = []
    for epoch in range(epochs):
        model.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = criterion(model(images[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.detach() * len(rows)
        right = validate(model, *validation)
        print(f"epoch {epoch + 1}  loss {total / len(images):.4f}  accuracy {right:.4f}")
        ends.append(time.perf_counter())
    print(-(-len(images) // BATCH_SIZE) * (epochs - 1) / (ends[-1] - ends[0]))


@torch.no_grad()
def validate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy."""
    model.eval()
    batches = zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    return right / len(images)


if __name__ == "__main__":
    main()
