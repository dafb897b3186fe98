"""Numbers as bands, and text as it is: by what examples are grouped."""

from itertools import pairwise

import numpy as np

MISSING = "(missing)"
NUM_BANDS = 4  # with about as many examples each
FEW_VALUES = 8  # different numbers that are not divided into bands


def label_values(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return each value of a column as text, numbers as bands of about as many examples.

    A number that a whole band would hold, such as many zeros, is a label of its own.

    Args:
        values: (size,) numbers or text.

    Returns:
        Labels (size,), and the different ones in rising order, ``(missing)`` last.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        labels = np.array([str(value) if str(value) != "" else MISSING for value in values])
        return labels, sorted(set(labels.tolist()), key=lambda label: (label == MISSING, label))
    numbers = values.astype("float64")
    present = np.isfinite(numbers)
    different, counts = np.unique(numbers[present], return_counts=True)
    own = (
        different if len(different) <= FEW_VALUES else different[counts * NUM_BANDS >= len(values)]
    )
    rest = present & ~np.isin(numbers, own)
    edges = (
        np.unique(np.quantile(numbers[rest], np.linspace(0, 1, NUM_BANDS + 1)))
        if rest.any()
        else own[:0]
    )
    if len(edges) == 1:
        own, rest = np.union1d(own, edges), rest & False
    shown = _format_distinct(np.union1d(own, edges))
    labels = np.full(len(numbers), MISSING, dtype=object)
    order: list[tuple[float, str]] = []
    for number in own:
        labels[numbers == number] = shown[number]
        order.append((float(number), shown[number]))
    for low, high in pairwise(edges) if rest.any() else ():
        is_last = high == edges[-1]
        label = f"{shown[low]} to {'' if is_last else 'under '}{shown[high]}"
        inside = rest & (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
        if inside.any():
            labels[inside] = label
            order.append((float(low), label))
    names = [label for _, label in sorted(order)]
    return labels.astype(str), [*names, MISSING] if not present.all() else names


def _format_distinct(numbers: np.ndarray) -> dict[float, str]:
    """Return numbers as text, with as many digits as tell them apart."""
    if (numbers == np.round(numbers)).all() and (np.abs(numbers) < 1e15).all():
        return {float(number): f"{number:.0f}" for number in numbers}
    for digits in range(4, 17):
        texts = [_format(number, digits) for number in numbers]
        if len(set(texts)) == len(texts):
            break
    return dict(zip(numbers.tolist(), texts, strict=True))


def _format(number: float, digits: int) -> str:
    if 1e-4 <= abs(number) < 1e15:
        return np.format_float_positional(number, digits, fractional=False, trim="-")
    return f"{number:.{digits}g}"
