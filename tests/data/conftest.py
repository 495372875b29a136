"""Texts on which tokenizers fall out with each other, made from a seed."""

import random
from pathlib import Path

import pytest
from pyarrow.parquet import read_table

PIECES = [
    "a photo of a dog",
    "Two RED buses, parked!",
    "it's they're we'll I'd 've 'm can't DON'T",
    "“curly” ‘quotes’ — dash … ellipsis",
    "&amp;amp; &lt;b&gt; &quot;x&quot; &#39;s &nbsp;| &copy;",
    "tab\tand\nnewline\r\nand\u00a0nbsp\u2003em",
    "😀👍🏽👩‍👩‍👧‍👦🇩🇪 1️⃣ ❤️",
    "一只黑猫坐在红色垫子上",
    "日本語の テキスト カタカナ",
    "한국어 문장입니다",
    "קצת עברית",
    "نص عربي مع أرقام ٣٤٥",
    "हिन्दी वाक्य",
    "Ünïcödé naïve façade ŁÓDŹ İstanbul ΣΊΣΥΦΟΣ straße",
    "e\u0301 a\u030a n\u0303 \u1e9b\u0323",
    "3.14 1,000,000 50% 2034 ½ ² Ⅷ",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\u200b\ufeff\u00ad",
    "schÃ¶n â€œmojibakeâ€\x9d doesnâ€™t",
    "ﬁne ﬂow ＦＵＬＬ width ſhort Ⓐ",
    "<s> [CLS] mid [SEP] [MASK] [DEC] [ENC] </w> ##ing Ġword",
    "!!! ??? ... ((nested [brackets])) #hash @at ~tilde; semi: colon * star",
    "http://example.org/a_b?c=d&e=f  me@example.org",
    "   leading and trailing   ",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "\U0001f468\u200d\U0001f680 \u0345 \u2028 \u3000 \x85",
    "ŉ ǆ ŀ ﷺ ℃ ㎏ 𝒳 𠮷",
    "",
]


@pytest.fixture(scope="session")
def tricky_texts() -> list[str]:
    """A thousand of them: the pieces as they are, joined, cut anywhere, repeated, and random characters."""
    rng = random.Random(31)
    planes = [(32, 127), (128, 1024), (0x600, 0x700), (0x4E00, 0x9000), (0x1F300, 0x1F650), (1, 32)]
    texts = list(PIECES)
    while len(texts) < 1000:
        kind = rng.randrange(4)
        joined = rng.choice(["", " ", ", ", "\t"]).join(rng.choices(PIECES, k=rng.randint(1, 4)))
        if kind == 0:
            texts.append(joined)
        elif kind == 1:
            start = rng.randrange(len(joined) + 1)
            texts.append(joined[start : start + rng.randint(0, 60)])
        elif kind == 2:
            texts.append(rng.choice([str.upper, str.title, str.swapcase])(joined) * rng.randint(1, 3))
        else:
            texts.append("".join(chr(rng.randrange(*rng.choice(planes))) for _ in range(rng.randint(0, 40))))
    return texts


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_texts() -> list[str]:
    """What people wrote: flickr8k's captions, emoji names in six languages, the words of clip art."""
    if not SHARED.is_dir():
        pytest.skip(f"no data in {SHARED}")
    texts: list[str] = []
    for split in ("train", "val", "test"):
        rows = read_table(SHARED / "flickr8k" / f"{split}.parquet", columns=["captions"])
        texts += [caption for row in rows["captions"].to_pylist() for caption in row]
    names = [f"name_{language}" for language in ("en", "zh", "es", "de", "fr", "ja")]
    for style in ("openmoji", "twitter"):
        for column in read_table(SHARED / "emoji" / f"{style}.parquet", columns=["emoji", *names]).columns:
            texts += column.to_pylist()
    for column in read_table(
        SHARED / "clipart" / "clipart.parquet", columns=["caption", "description"]
    ).columns:
        texts += column.to_pylist()
    return sorted({text for text in texts if text})
