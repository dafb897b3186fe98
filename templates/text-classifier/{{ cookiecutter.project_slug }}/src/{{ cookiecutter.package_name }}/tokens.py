"""Tokenisers of texts in any language.

A tokeniser takes a normalised text and returns its tokens. To add one, write such a function and
add a line to ``TOKENIZERS`` in ``registry.py``. ``subword`` is trained on the training texts
(``train_subwords``); ``preset`` comes with a pretrained model (``presets.py``).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

# Longer texts are truncated before anything else, so that no single one takes seconds.
MAX_CHARACTERS = 100_000
NGRAM = 3  # characters of a token of ``character_ngram``
MIN_COUNT = 2  # occurrences in the training texts of a token of the vocabulary
SAMPLE_SIZE = 1_000  # texts from which ``auto`` detects a tokeniser

# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
SPACELESS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents are parts of a word, although ``\w`` does not match them.
MARKS = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2060\ufeff\ud800-\udfff]")
WORD = re.compile(rf"[{SPACELESS}]|(?:(?![{SPACELESS}])[\w{MARKS}])+|[^\w\s]")
LETTER_WITHOUT_SPACES = re.compile(rf"[{SPACELESS}]")


def normalize(text: str, lowercase: bool) -> str:
    """Apply Unicode NFKC, and replace control characters and runs of spaces by a space.

    Args:
        text: only its first ``MAX_CHARACTERS`` characters are kept.
        lowercase: whether to lower the case.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])
    text = CONTROL.sub(" ", text)
    text = " ".join(text.split())
    return text.lower() if lowercase else text


def split_words(text: str) -> list[str]:
    """Split into words; punctuation and characters of scripts without spaces are words each."""
    return WORD.findall(text)


def split_characters(text: str) -> list[str]:
    """Split into characters, including spaces."""
    return list(text)


def split_character_ngrams(text: str) -> list[str]:
    """Split into overlapping n-grams of three characters."""
    return [text[i : i + NGRAM] for i in range(max(1, len(text) - NGRAM + 1))] if text else []


def detect_tokenizer(texts: Iterable[str]) -> str:
    """Return ``character`` if many letters are of scripts without spaces, else ``word``."""
    spaceless = letters = 0
    for text in texts:
        spaceless += len(LETTER_WITHOUT_SPACES.findall(text))
        letters += sum(map(str.isalpha, text))
    return "character" if spaceless > 0.3 * max(letters, 1) else "word"


def train_subwords(texts: Iterable[str], size: int) -> str:
    """Train byte-pair encoding (Sennrich et al. 2016) on texts.

    Args:
        texts: normalised training texts.
        size: largest number of subwords.

    Returns:
        The tokeniser as JSON of the ``tokenizers`` library.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # marks the first part of each word
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=MIN_COUNT, show_progress=False, max_token_length=24
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def load_subwords(state: str) -> Callable[[str], list[str]]:
    """Load a tokeniser from the JSON of ``train_subwords``."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(state)
    return lambda text: tokenizer.encode(text).tokens


def build_vocabulary(texts: Iterable[list[str]], size: int) -> tuple[str, ...]:
    """Return the tokens that occur at least twice, the most frequent first.

    Args:
        texts: tokens of each text.
        size: largest number of tokens to return.
    """
    counts: Counter[str] = Counter()
    for tokens in texts:
        counts.update(tokens)
        if len(counts) > 50 * size:  # bounds memory: most of that many occurred once
            counts = Counter({token: n for token, n in counts.items() if n >= MIN_COUNT})
    frequent = [(-count, token) for token, count in counts.items() if count >= MIN_COUNT]
    return tuple(token for _, token in sorted(frequent)[:size])
