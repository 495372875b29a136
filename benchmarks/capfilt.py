"""Writing captions and filtering them, beside transformers on the same weights and the same pixels.

    python benchmarks/capfilt.py                          every case, batch 1 and 8
    python benchmarks/capfilt.py --case decode_beam       some cases
    python benchmarks/capfilt.py --batch 1 --rounds 5     one batch size, more rounds
    python benchmarks/capfilt.py --case --floor           what decoding costs in matrix products alone (CPU)
    python benchmarks/capfilt.py --write                  also write benchmarks/records/capfilt-<device>.json

The models are BLIP-base at 384 pixels with random weights, which limner writes in transformers' names.
Random weights never choose [SEP]: every text runs to its 20 tokens, the worst case for both. Outputs are
compared before anything is timed: texts of beam search token by token; drawn texts, whose chance differs, by
the other library's log-probabilities of them; ITM scores. Both sides alternate; the figure is the ratio of
medians, above 1 where limner is faster. On one thread it is CPU time, which a busy neighbour leaves alone.

Decoding alone is all after the image encoder, the keys and values of pictures among it. The CapFilt step is
one drawn caption a picture and the ITM score of that and of a web text: transformers has a class for each
job, so that it looks at a picture three times; limner twice with two models, once with a shared one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from limner.checkpoint import stored_weights
from limner.convert.blip import DIALECTS
from limner.convert.blip_hf import to_json
from limner.convert.keymap import write
from limner.models import MODELS
from limner.models.blip import BLIP, BLIPConfig, with_heads
from limner.models.generate import Decoding, Generated, generate
from limner.models.packed import PackedLinear, decoder_of
from limner.train.precision import cpu_has_bf16
from models import synchronise, write_record

RECORDS = Path(__file__).parent / "records"
TOKENS, SAMPLES, WORDS = 20, 5, 12
BARS = {
    "decode_beam": 2.5,
    "decode_nucleus": 3.0,
    "caption_beam": 1.35,
    "caption_nucleus": 1.8,
    "capfilt_decoupled": 1.4,
    "capfilt_shared": 2.5,
}
BEAM = Decoding(method="beam", max_tokens=TOKENS)
NUCLEUS = Decoding(method="nucleus", max_tokens=TOKENS)
THEIR_BEAM = {"num_beams": 3, "do_sample": False}
THEIR_NUCLEUS = {"num_beams": 1, "do_sample": True, "top_p": 0.9, "top_k": 0}
HEAD = "case                batch  dtype  limner s    peer s  ratio    bar     apart"
ROW = "{case:<20}{batch:>5}  {dtype:<6}{limner_s:>9.2f}{peer_s:>10.2f}{ratio:>7.2f}{bar:>7.2f}{apart:>10.1e}"


class Timing(NamedTuple):
    """Medians of one case."""

    case: str
    peer: str
    batch: int
    dtype: str
    limner_s: float
    peer_s: float
    ratio: float
    bar: float
    apart: float


class Pair(NamedTuple):
    """limner's models and transformers' with the same weights.

    Args:
        whole: captioner and filter in one.
        captioner: of two, its own copy.
        judge: the filter, its own copy.
        their_captioner: BlipForConditionalGeneration.
        their_judge: BlipForImageTextRetrieval.
    """

    whole: BLIP
    captioner: BLIP
    judge: BLIP
    their_captioner: Any
    their_judge: Any


class Given(NamedTuple):
    """What both sides start from.

    Args:
        pixels: normed pictures.
        tokens: of the pictures, for decoding alone.
        web: ids of one text a picture.
    """

    pixels: Tensor
    tokens: Tensor
    web: Tensor


def blip_base() -> BLIP:
    """BLIP-base of random weights, captioner and filter in one."""
    values = MODELS["blip_base_caption"].config.model_dump() | {"heads": ("itc", "itm", "lm")}
    torch.manual_seed(0)
    return BLIP(BLIPConfig.model_validate(values)).eval()


def models(device: str) -> Pair:
    """Make all five."""
    from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval

    whole = blip_base().to(device)
    captioner, judge = with_heads(whole, ("lm",)), with_heads(whole, ("itc", "itm"))
    return Pair(
        whole,
        captioner,
        judge,
        theirs(captioner, BlipForConditionalGeneration).to(device),
        theirs(judge, BlipForImageTextRetrieval).to(device),
    )


def theirs(model: BLIP, kind: Any) -> nn.Module:
    """A class of transformers with a model's weights; a key that does not fit is an error, ties aside."""
    from transformers import BlipConfig

    dialect = next(d for d in DIALECTS if (d.architecture, d.name) == ("blip", "hf"))
    weights = write(stored_weights(model), dialect.keymap(model.config))
    made, info = kind.from_pretrained(
        None, config=BlipConfig(**to_json(model.config)), state_dict=weights, output_loading_info=True
    )
    left = [key for key in info["missing_keys"] if not key.endswith(("position_ids", "decoder.weight"))]
    left = [key for key in left if not key.endswith("decoder.bias")]
    if left or info["unexpected_keys"]:
        raise SystemExit(f"transformers lacks {left[:3]} or does not know {info['unexpected_keys']}")
    eval_mode: nn.Module = made.eval()
    return eval_mode


def given(pair: Pair, batch: int, device: str) -> Given:
    """Pixels, their tokens, web texts."""
    torch.manual_seed(1)
    size = pair.whole.config.vision.image_size
    pixels = torch.randn(batch, 3, size, size, device=device)
    web = torch.randint(1000, 30000, (batch, WORDS), device=device)
    return Given(pixels, pair.captioner.encode_image(pixels), started(web, pair.whole.config.enc_id))


def started(ids: Tensor, token: int) -> Tensor:
    """Texts behind a first token."""
    return torch.cat([ids.new_full((len(ids), 1), token), ids], 1)


# ---------------------------------------------------------------- limner's side


def ours_written(model: BLIP, memory: Any, decoding: Decoding, count: int) -> list[Generated]:
    """Captions of pictures whose keys and values are at hand."""
    rows = memory.num_rows * count
    prompts = torch.full((rows, 1), model.config.cls_id, device=memory.layers[0].device)
    return generate(model, memory, prompts, decoding, torch.arange(rows))


def ours_decoded(model: BLIP, tokens: Tensor, decoding: Decoding, count: int = 1) -> list[Generated]:
    """Captions of pictures that were looked at."""
    return ours_written(model, model.decoder_memory(tokens), decoding, count)


def ours_filtered(model: BLIP, memory: Any, web: Tensor, texts: list[Generated]) -> Tensor:
    """ITM scores of the web texts and of the written ones, "b 2"."""
    written = started(torch.tensor([text.ids for text in texts], device=web.device), model.config.enc_id)
    return torch.stack([model.match(memory, ids).softmax(1)[:, 1] for ids in (web, written)], 1)


def ours_capfilt(pair: Pair, work: Given) -> tuple[list[Generated], Tensor]:
    """Two models: each looks at the pictures."""
    texts = ours_decoded(pair.captioner, pair.captioner.encode_image(work.pixels), NUCLEUS)
    memory = pair.judge.encoder_memory(pair.judge.encode_image(work.pixels))
    return texts, ours_filtered(pair.judge, memory, work.web, texts)


def ours_shared(pair: Pair, work: Given) -> tuple[list[Generated], Tensor]:
    """One model, one look, one set of keys and values."""
    tokens = pair.whole.encode_image(work.pixels)
    memory = pair.whole.encoder_memory(tokens)
    texts = ours_written(pair.whole, pair.whole.decoder_memory(tokens, memory), NUCLEUS, 1)
    return texts, ours_filtered(pair.whole, memory, work.web, texts)


# ---------------------------------------------------------------- transformers' side


def their_decoded(pair: Pair, tokens: Tensor, options: dict[str, Any], count: int = 1) -> Tensor:
    """What `BlipForConditionalGeneration.generate` does after its image encoder."""
    config = pair.whole.config
    ids: Tensor = pair.their_captioner.text_decoder.generate(
        input_ids=torch.full((len(tokens), 1), config.dec_id, device=tokens.device),
        encoder_hidden_states=tokens,
        encoder_attention_mask=torch.ones(tokens.shape[:2], dtype=torch.int64, device=tokens.device),
        eos_token_id=config.sep_id,
        pad_token_id=config.pad_id,
        max_new_tokens=TOKENS,
        num_return_sequences=count,
        **options,
    )
    return ids[:, 1:]


def their_captions(pair: Pair, pixels: Tensor, options: dict[str, Any], count: int = 1) -> Tensor:
    """The user's call."""
    ids: Tensor = pair.their_captioner.generate(
        pixel_values=pixels, max_new_tokens=TOKENS, num_return_sequences=count, **options
    )
    return ids[:, 1:]


def their_match(pair: Pair, pixels: Tensor, ids: Tensor) -> Tensor:
    """ITM scores by the user's call."""
    logits: Tensor = pair.their_judge(input_ids=ids, pixel_values=pixels, use_itm_head=True).itm_score
    return logits.softmax(1)[:, 1]


def their_capfilt(pair: Pair, work: Given) -> tuple[Tensor, Tensor]:
    """Caption, then score both texts."""
    written = their_captions(pair, work.pixels, THEIR_NUCLEUS)
    texts = (work.web, started(written, pair.whole.config.enc_id))
    return written, torch.stack([their_match(pair, work.pixels, ids) for ids in texts], 1)


# ---------------------------------------------------------------- equal first


def apart_texts(found: list[Generated], want: Tensor) -> float:
    """0 when both wrote the same."""
    told = zip(want.tolist(), found, strict=True)
    if [text.ids for text in found] != [row[: len(text.ids)] for row, text in told]:
        raise SystemExit("texts of beam search differ: nothing to time")
    return 0.0


def apart_drawn(pair: Pair, tokens: Tensor, found: list[Generated], count: int = 1) -> float:
    """Largest difference of a drawn token's log-probability, by the other library."""
    ids = torch.tensor([text.ids for text in found], device=tokens.device)
    seen = tokens.repeat_interleave(count, 0)
    logits = pair.their_captioner.text_decoder(
        input_ids=started(ids, pair.whole.config.dec_id), encoder_hidden_states=seen
    ).logits
    told = logits[:, :-1].log_softmax(-1).gather(2, ids[:, :, None])[:, :, 0]
    ours = torch.tensor([text.log_probs for text in found], device=tokens.device)
    return agreed(float((told - ours).abs().max()))


def apart_scores(pair: Pair, work: Given, found: tuple[list[Generated], Tensor]) -> float:
    """Largest difference of an ITM score of the same text."""
    texts, scores = found
    written = torch.tensor([text.ids for text in texts], device=work.web.device)
    both = (work.web, started(written, pair.whole.config.enc_id))
    want = torch.stack([their_match(pair, work.pixels, ids) for ids in both], 1)
    return agreed(float((scores - want).abs().max()))


def agreed(apart: float) -> float:
    """The difference, when it is within rounding."""
    if not apart < 1e-3:
        raise SystemExit(f"outputs differ by {apart:.1e}: nothing to time")
    return apart


class Case(NamedTuple):
    """One job by both sides, and how far their outputs are apart."""

    ours: Callable[[Pair, Given], Any]
    peer: Callable[[Pair, Given], Any]
    apart: Callable[[Pair, Given, Any, Any], float]


CASES = {
    "decode_beam": Case(
        lambda pair, work: ours_decoded(pair.captioner, work.tokens, BEAM),
        lambda pair, work: their_decoded(pair, work.tokens, THEIR_BEAM),
        lambda pair, work, found, want: apart_texts(found, want),
    ),
    "decode_nucleus": Case(
        lambda pair, work: ours_decoded(pair.captioner, work.tokens, NUCLEUS, SAMPLES),
        lambda pair, work: their_decoded(pair, work.tokens, THEIR_NUCLEUS, SAMPLES),
        lambda pair, work, found, want: apart_drawn(pair, work.tokens, found, SAMPLES),
    ),
    "caption_beam": Case(
        lambda pair, work: ours_decoded(pair.captioner, pair.captioner.encode_image(work.pixels), BEAM),
        lambda pair, work: their_captions(pair, work.pixels, THEIR_BEAM),
        lambda pair, work, found, want: apart_texts(found, want),
    ),
    "caption_nucleus": Case(
        lambda pair, work: ours_decoded(
            pair.captioner, pair.captioner.encode_image(work.pixels), NUCLEUS, SAMPLES
        ),
        lambda pair, work: their_captions(pair, work.pixels, THEIR_NUCLEUS, SAMPLES),
        lambda pair, work, found, want: apart_drawn(pair, work.tokens, found, SAMPLES),
    ),
    "capfilt_decoupled": Case(
        ours_capfilt, their_capfilt, lambda pair, work, found, want: apart_scores(pair, work, found)
    ),
    "capfilt_shared": Case(
        ours_shared, their_capfilt, lambda pair, work, found, want: apart_scores(pair, work, found)
    ),
}


def measure(name: str, pair: Pair, work: Given, rounds: int, device: str) -> Timing:
    """Compare, then time both sides in turn."""
    case = CASES[name]
    apart = case.apart(pair, work, case.ours(pair, work), case.peer(pair, work))
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds):
        for ours in (True, False) if turn % 2 else (False, True):
            synchronise(device)
            start = clock()
            (case.ours if ours else case.peer)(pair, work)
            synchronise(device)
            seconds[ours].append(clock() - start)
    mine, other = statistics.median(seconds[True]), statistics.median(seconds[False])
    count = len(work.pixels)
    return Timing(name, "transformers", count, "fp32", mine, other, other / mine, BARS[name], apart)


def floor(pair: Pair, work: Given, rounds: int) -> dict[str, float]:
    """Seconds of the matrix products of decoding and nothing else: no attention, no choice of tokens.

    Returns: "beam" and "nucleus": a step's products once a token, and the pictures' keys and values.
    """
    decoder = decoder_of(pair.captioner)
    layers = [layer for layer in decoder.tower.modules() if isinstance(layer, PackedLinear)]
    found = {}
    for name, count in (("beam", THEIR_BEAM["num_beams"]), ("nucleus", SAMPLES)):
        rows = torch.randn(len(work.pixels) * count, 1, max(layer.weight.shape[1] for layer in layers))
        given = [rows[..., : layer.weight.shape[1]].contiguous() for layer in layers]
        states = rows[..., : pair.captioner.config.text.width].contiguous()
        seconds = []
        for _ in range(rounds):
            start = time.process_time()
            pair.captioner.decoder_memory(work.tokens)
            for _ in range(TOKENS):
                for layer, x in zip(layers, given, strict=True):
                    layer(x)
                decoder.score(states)
            seconds.append(time.process_time() - start)
        found[name] = statistics.median(seconds)
    return found


def native_bf16(device: str) -> bool:
    """Whether bf16 is computed, and not emulated."""
    return device == "cuda" or cpu_has_bf16()


def main() -> None:
    """Print the table; write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if not native_bf16(asked.device):
        print("bf16 is left out: this CPU emulates it")
    print(HEAD)
    rows = []
    with torch.inference_mode():
        pair = models(asked.device)
        for batch in asked.batch:
            work = given(pair, batch, asked.device)
            for name in asked.case:
                rows.append(measure(name, pair, work, asked.rounds, asked.device))
                print(ROW.format(**rows[-1]._asdict()), flush=True)
            if asked.floor:
                for name, seconds in floor(pair, work, asked.rounds).items():
                    print(f"decode_{name}: {seconds:.2f} s of matrix products at batch {batch}", flush=True)
    if asked.write:
        names = ("case", "batch", "dtype")
        write_record(RECORDS / f"capfilt-{asked.device}.json", rows, names, asked.device, asked.rounds)


if __name__ == "__main__":
    main()
