"""The language a text is written in: its script first, then the letters' statistics where there are enough.

Short titles are not guessed at: three words of a caption say little, and a wrong answer is worse than none.
The model of py3langid (Lui and Baldwin 2012) is read when a Latin, Cyrillic, Arabic or Devanagari text first
asks for it (0.5 s); nothing is downloaded.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

UNKNOWN: Final = "unknown"
MIN_LETTERS: Final = 12
"""Fewer letters decide nothing, but where a script belongs to one language."""
MIN_PROBABILITY: Final = 0.6
_LOOKED_AT: Final = 1000

_OWN_SCRIPT: Final = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GUJARATI": "gu",
    "KHMER": "km",
    "LAO": "lo",
    "SINHALA": "si",
}
"""Scripts that one language writes, for all that matters here."""

_SHARED_SCRIPT: Final = {
    "LATIN": [
        "en",
        "es",
        "fr",
        "de",
        "it",
        "pt",
        "nl",
        "sv",
        "da",
        "nb",
        "no",
        "fi",
        "pl",
        "cs",
        "sk",
        "hu",
        "ro",
        "hr",
        "sl",
        "lt",
        "lv",
        "et",
        "tr",
        "vi",
        "id",
        "ca",
        "sw",
        "tl",
    ],
    "CYRILLIC": ["ru", "uk", "be", "bg", "sr", "mk", "kk", "mn"],
    "ARABIC": ["ar", "fa", "ur", "ps", "ug"],
    "DEVANAGARI": ["hi", "mr", "ne"],
}
"""Scripts that many languages write, with those that are told apart."""

NAMES: Final = {
    "ar": "Arabic",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kk": "Kazakh",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "mn": "Mongolian",
    "mr": "Marathi",
    "nb": "Norwegian",
    "ne": "Nepali",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "ug": "Uyghur",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Languages by name; the others are called by their code."""


def language(text: str) -> str:
    """The language of a text.

    Args:
        text: of any length; the first 1,000 characters are looked at.
    Returns: ISO 639-1 code, or "unknown" when the text is short, mixed or no language.
    """
    text = text[:_LOOKED_AT]
    scripts = Counter(filter(None, map(_script, text)))
    if not scripts:
        return UNKNOWN
    letters = scripts.total()
    if scripts["HIRAGANA"] + scripts["KATAKANA"] >= 0.15 * letters:  # Japanese has many Chinese characters
        return "ja"
    script, count = scripts.most_common(1)[0]
    if count < 0.6 * letters:
        return UNKNOWN
    if script in _OWN_SCRIPT:
        return _OWN_SCRIPT[script]
    if script not in _SHARED_SCRIPT or count < MIN_LETTERS:
        return UNKNOWN
    return _told_apart(text, tuple(_SHARED_SCRIPT[script]))


def language_counts(texts: Iterable[str]) -> dict[str, int]:
    """How many texts are in which language, most frequent first; equal texts are looked at once."""
    counts: Counter[str] = Counter()
    for text, number in Counter(texts).items():
        counts[language(text)] += number
    return dict(counts.most_common())


@cache
def _script(character: str) -> str:
    """The script of a letter as Unicode names it; "" for what is no letter."""
    if not character.isalpha():
        return ""
    script = unicodedata.name(character, "").split(" ")[0].split("-")[0]
    return {"FULLWIDTH": "LATIN", "HALFWIDTH": "KATAKANA"}.get(script, script)


def _told_apart(text: str, candidates: tuple[str, ...]) -> str:
    """The most probable of some languages, when it is probable enough."""
    if text.isupper():
        text = text.lower()
    ranked = [(str(name), float(share)) for name, share in _model().rank(text) if name in candidates]
    whole = sum(share for _, share in ranked)
    if not ranked or ranked[0][1] < MIN_PROBABILITY * whole:
        return UNKNOWN
    return ranked[0][0]


@cache
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
