"""TrOCR-small as people fine-tune it: 384×384 pixels, its whole vocabulary, `generate`, a token a digit.

Its weights here are random.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DeiTConfig, TrOCRConfig, TrOCRForCausalLM, VisionEncoderDecoderModel
from transformers.models.deit import DeiTModel

from bench.peers.base import Peer, PeerSpec
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.processor import Processor
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer

_VOCABULARY = 64_044  # wordpieces of microsoft/trocr-small-*
_WRITTEN = TASK_LENGTH + 1  # and the end


def _load(recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    preset = PRESETS["small"]
    torch.manual_seed(0)
    encoder = DeiTModel(DeiTConfig(**preset.encoder), add_pooling_layer=False)
    width = encoder.config.hidden_size
    decoder = TrOCRForCausalLM(TrOCRConfig(vocab_size=_VOCABULARY, cross_attention_hidden_size=width, **preset.decoder))
    model: Any = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    start = decoder.config.decoder_start_token_id
    model.generation_config.update(
        decoder_start_token_id=start, pad_token_id=1, eos_token_id=2, do_sample=False, num_beams=1
    )
    image_height, image_width = preset.encoder["image_size"]
    processor = Processor(image_height, image_width, keep_aspect=preset.keep_aspect)

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        dark_on_light = [255 - line for line in lines] if inverted else lines
        with torch.inference_mode():
            ids = model.generate(processor(dark_on_light), min_new_tokens=_WRITTEN, max_new_tokens=_WRITTEN)
        return [" ".join(map(str, row)) for row in ids.tolist()]

    return Peer(read, "transformers' generate, greedy, random weights")


PEERS = [PeerSpec("TrOCR-small", _load, order=40, trained=False)]
