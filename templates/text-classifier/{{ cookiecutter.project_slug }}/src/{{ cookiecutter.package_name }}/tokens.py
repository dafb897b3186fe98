"""From texts to tokens, in any language.

A tokeniser takes a normalised text and gives its tokens. To add one, write such a function and add
a line to ``TOKENS`` in ``registry.py``; ``subword`` is learnt from the training texts
(``learn_subwords``), ``preset`` comes with a pretrained model (``presets.py``).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

# Texts beyond it are cut before anything is done to them: nobody reads a megabyte as one example.
MOST_CHARACTERS = 100_000
NGRAM = 3  # characters of a token of ``character_ngram``
FEWEST = 2  # times a token must stand in the training texts to be in the vocabulary
SAMPLE = 1_000  # texts that ``auto`` looks at

# Scripts that do not separate words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
SPACELESS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents that belong to a word, although Python does not count them as letters.
MARKS = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2060\ufeff\ud800-\udfff]")
WORD = re.compile(rf"[{SPACELESS}]|(?:(?![{SPACELESS}])[\w{MARKS}])+|[^\w\s]")
LETTER_WITHOUT_SPACES = re.compile(rf"[{SPACELESS}]")


def normalised(text: str, lowercase: bool) -> str:
    """One spelling for what looks alike (Unicode NFKC), without control characters or runs of
    spaces."""
    text = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS])
    text = CONTROL.sub(" ", text)
    text = " ".join(text.split())
    return text.lower() if lowercase else text


def words(text: str) -> list[str]:
    """Words, and signs one by one; characters of scripts without spaces one by one too."""
    return WORD.findall(text)


def characters(text: str) -> list[str]:
    """Characters, spaces among them."""
    return list(text)


def character_ngrams(text: str) -> list[str]:
    """Overlapping parts of three characters."""
    return [text[i : i + NGRAM] for i in range(max(1, len(text) - NGRAM + 1))] if text else []


def fitting_kind(texts: Iterable[str]) -> str:
    """``character`` for texts in which letters of scripts without spaces prevail, else ``word``."""
    spaceless = letters = 0
    for text in texts:
        spaceless += len(LETTER_WITHOUT_SPACES.findall(text))
        letters += sum(map(str.isalpha, text))
    return "character" if spaceless > 0.3 * max(letters, 1) else "word"


def learn_subwords(texts: Iterable[str], size: int) -> str:
    """Byte-pair encoding (Sennrich 2016) learnt from texts, as JSON of the ``tokenizers`` library.

    Args:
        size: largest number of different subwords.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.Metaspace()  # a word's first part begins with a mark
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=FEWEST, show_progress=False, max_token_length=24
    )
    tokeniser.train_from_iterator(texts, trainer)
    return tokeniser.to_str()


def subwords(learnt: str) -> Callable[[str], list[str]]:
    """The tokeniser that ``learn_subwords`` gave as JSON."""
    from tokenizers import Tokenizer

    tokeniser = Tokenizer.from_str(learnt)
    return lambda text: tokeniser.encode(text).tokens


def vocabulary(texts: Iterable[list[str]], size: int) -> tuple[str, ...]:
    """The tokens that stand in the texts most often, the most frequent first."""
    counts: Counter[str] = Counter()
    for tokens in texts:
        counts.update(tokens)
        if len(counts) > 50 * size:  # of endless different ones: most were seen once
            counts = Counter({token: n for token, n in counts.items() if n >= FEWEST})
    known = [(-count, token) for token, count in counts.items() if count >= FEWEST]
    return tuple(token for _, token in sorted(known)[:size])
