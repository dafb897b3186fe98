"""Scripts and languages of texts, as far as letters and the most frequent words tell them."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_TEXTS, MAX_CHARACTERS = 2_000, 500  # that are looked at
# Words in nearly every longer text of a language, and in few of other languages.
FREQUENT = {
    "English": {"the", "and", "of", "is", "to", "it", "was", "for", "this"},
    "German": {"der", "die", "und", "nicht", "ist", "das", "ich", "ein", "mit"},
    "French": {"le", "les", "et", "est", "pas", "une", "des", "je", "pour"},
    "Spanish": {"el", "los", "y", "que", "es", "una", "muy", "por", "con"},
    "Portuguese": {"o", "os", "que", "não", "é", "uma", "muito", "com", "para"},
    "Italian": {"il", "che", "di", "è", "non", "una", "sono", "per", "gli"},
    "Dutch": {"de", "het", "een", "niet", "en", "ik", "van", "is", "dat"},
    "Polish": {"nie", "się", "jest", "to", "na", "i", "że", "w", "do"},
    "Swedish": {"och", "att", "det", "inte", "är", "jag", "som", "en", "på"},
}


def languages(texts: Sequence[str]) -> str:
    """Describe the scripts of texts and, for those written in it, the likeliest language."""
    letters = _count_scripts(texts)
    total = max(sum(letters.values()), 1)
    shown = [
        f"{name} {count / total:.0%}"
        for name, count in letters.most_common(4)
        if count / total >= 0.01
    ]
    likely = _likeliest_language(texts)
    return ", ".join(shown) + (f" (mostly {likely})" if likely else "") if shown else "no letters"


def language(text: str) -> str:
    """Return the language of a text, else its script, else that it has no letters."""
    letters = _count_scripts([text])
    return _likeliest_language([text]) or (
        letters.most_common(1)[0][0] if letters else "no letters"
    )


def _count_scripts(texts: Sequence[str]) -> Counter[str]:
    letters = Counter(
        unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0].capitalize()
        for text in texts[:MAX_TEXTS]
        for character in text[:MAX_CHARACTERS]
        if character.isalpha()
    )
    if "Cjk" in letters:
        letters["Chinese characters"] = letters.pop("Cjk")
    return letters


def _likeliest_language(texts: Sequence[str]) -> str:
    words = Counter(w for text in texts[:MAX_TEXTS] for w in text[:MAX_CHARACTERS].lower().split())
    hits = {name: sum(words[word] for word in frequent) for name, frequent in FREQUENT.items()}
    best = max(hits, key=hits.__getitem__)
    return best if hits[best] > 0.05 * sum(words.values()) else ""
