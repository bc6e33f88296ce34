"""The autoregressive variant as transformers has it: a `VisionEncoderDecoderModel` directory with a `TrOCRProcessor`.

transformers alone reads with what is written here, and what is written here can be loaded again.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    DetrImageProcessor,
    GenerationConfig,
    PreTrainedTokenizerFast,
    TrOCRProcessor,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTImageProcessor,
)

from seqocr.data.processor import Processor
from seqocr.errors import InputError
from seqocr.files import read_json, replacing_all, shown
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.pretrained import load_pretrained
from seqocr.models.recognizer import Recognizer

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # in no charset
_BILINEAR = 2  # as Pillow numbers its filters
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601), as Pillow has it


def is_hugging_face(directory: Path) -> bool:
    try:
        config = read_json(directory / "config.json")
    except InputError:
        return False  # what is wrong with it is for the loader to say
    return isinstance(config, dict) and config.get("model_type") == "vision-encoder-decoder"


def export_hugging_face(recognizer: Recognizer, out: Path) -> None:
    """Write the encoder, the autoregressive head, a tokenizer of the charset and an image processor; all or nothing.

    Raises:
        InputError: the recognizer has no autoregressive head, or the directory cannot be written.
    """
    able = [name for name, head in recognizer.heads.items() if head.trocr_decoder is not None]
    if not able:
        raise InputError(f"no head of this recognizer is TrOCR's decoder: it has {', '.join(recognizer.heads)}")
    if recognizer.encoder.has_stem:
        raise InputError("this encoder has a convolutional stem, which TrOCR's has not: export it as onnx")
    head: AutoregressiveHead = recognizer.heads[able[0]]
    backbone = recognizer.encoder.backbone
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(backbone.config, head.decoder.config)
    special = {"bos_token_id": head.begin, "eos_token_id": head.end, "pad_token_id": head.pad}
    config.decoder_start_token_id, config.pad_token_id = head.begin, head.pad
    model = VisionEncoderDecoderModel(config).eval()
    weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    if len(set(recognizer.processor.mean)) == len(set(recognizer.processor.std)) == 1:
        # Patches see a colour as its grey, which is what recognizers are trained on and `open_line` gives.
        name = "embeddings.patch_embeddings.projection.weight"
        weights[name] = weights[name].sum(dim=1, keepdim=True) * torch.tensor(_LUMA).view(1, 3, 1, 1)
    pooler = {name for name in model.encoder.state_dict() if name.startswith("pooler.")}  # nothing reads what it gives
    weights |= {name: torch.zeros_like(model.encoder.state_dict()[name]) for name in pooler}
    model.encoder.load_state_dict(weights)
    model.decoder.load_state_dict(head.decoder.state_dict())
    model.generation_config = GenerationConfig(
        **special,
        decoder_start_token_id=head.begin,
        max_new_tokens=head.max_length + 1,
        forced_eos_token_id=head.end,  # where there was none before
        do_sample=False,
        num_beams=1,
    )
    processor = TrOCRProcessor(_image_processor(recognizer.processor), _tokenizer(head))
    with replacing_all(out) as temporary:
        try:
            model.save_pretrained(temporary)
        except SafetensorError as error:  # which is what safetensors makes of what the system says
            raise OSError(str(error)) from error
        processor.save_pretrained(temporary)


def load_hugging_face(directory: Path) -> Recognizer:
    """A recognizer with the autoregressive head, from what `export_hugging_face` wrote.

    Raises:
        InputError: it cannot be read, or its tokens are not single symbols, then begin, end and pad.
    """
    found = load_pretrained(str(directory))
    charset = _charset(directory)
    longest = read_json(directory / "generation_config.json")
    longest = longest.get("max_new_tokens") if isinstance(longest, dict) else None
    if type(longest) is not int or not charset:
        raise InputError(
            f"{shown(directory)} does not write symbol by symbol: start a training from it (`seqocr train --encoder`), "
            "or give a directory written by `seqocr export`"
        )
    look = Processor(*found.encoder.image_size, keep_aspect=found.keep_aspect, mean=found.mean, std=found.std)
    heads = {AutoregressiveHead.name: found.decoder}
    recognizer = Recognizer(found.encoder, look, heads, charset, longest - 1, {"encoder": "exported"})
    try:
        recognizer.heads[AutoregressiveHead.name].decoder.load_state_dict(found.decoder_weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{shown(directory)}: tokens do not fit the weights ({reason}): export it again") from error
    return recognizer.eval()


def _charset(directory: Path) -> str:
    """The symbols, from the tokenizer; empty where it is none of `_tokenizer`'s."""
    try:
        vocabulary = read_json(directory / "tokenizer.json")["model"]["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    except InputError:
        raise
    except (KeyError, TypeError) as error:
        raise InputError(f"{shown(directory / 'tokenizer.json')} is no tokenizer: export it again") from error
    single = all(len(token) == 1 for token in tokens[:-3])
    return "".join(tokens[:-3]) if single and tokens[-3:] == ["<s>", "</s>", "<pad>"] else ""


def _image_processor(processor: Processor) -> Any:
    look = {"image_mean": list(processor.mean), "image_std": list(processor.std), "resample": _BILINEAR}
    size = {"height": processor.height, "width": processor.width}
    if not processor.keep_aspect:
        return ViTImageProcessor(size=size, do_convert_rgb=True, **look)
    # Of DETR's processor only what it does to images is used: the largest that fits, and nothing around it.
    within = {"max_height": processor.height, "max_width": processor.width}
    return DetrImageProcessor(size=within, pad_size=size, do_convert_rgb=True, **look)


def _tokenizer(head: AutoregressiveHead) -> PreTrainedTokenizerFast:
    """A token a symbol. Texts that the head cannot write, of other symbols or too long, are an error: as padding they
    would vanish from the loss of a training."""
    names = [*head.charset, "<s>", "</s>", "<pad>"]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=_UNKNOWN))
    too_long = Regex(f"^[\\s\\S]{{{head.max_length + 1},}}$")
    tokenizer.normalizer = normalizers.Replace(too_long, _UNKNOWN)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", head.end)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        model_max_length=head.max_length + 1,
    )
