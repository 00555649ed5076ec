"""llama.cpp's server with random weights, run in its environment: `python llama_server.py PORT FOLDER`.

The weights are made on the spot. What they write follows nothing: a run on them shows how the server speaks.
"""

import sys
import threading
from pathlib import Path
from typing import Any

import gguf
import numpy
import xllamacpp

WIDTH, INNER, HEADS = 64, 128, 4
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_model(path: Path) -> None:
    """A model of one layer, whose vocabulary is the bytes and a few letters."""
    letters = [f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(letters)
    model = gguf.GGUFWriter(str(path), "llama")
    model.add_name("random")
    model.add_context_length(65536)
    model.add_embedding_length(WIDTH)
    model.add_block_count(1)
    model.add_feed_forward_length(INNER)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types(kinds)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_chat_template(TEMPLATE)
    numbers = numpy.random.default_rng(7)

    def weights(*shape: int) -> Any:
        return numbers.normal(0, 0.5, shape).astype(numpy.float32)

    # Mostly letters: bytes at random are seldom text.
    output = weights(len(tokens), WIDTH)
    output[:259] *= 0.01
    model.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    model.add_tensor("output.weight", output)
    model.add_tensor("output_norm.weight", numpy.ones(WIDTH, numpy.float32))
    for name in ("attn_norm", "ffn_norm"):
        model.add_tensor(f"blk.0.{name}.weight", numpy.ones(WIDTH, numpy.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        model.add_tensor(f"blk.0.{name}.weight", weights(WIDTH, WIDTH))
    model.add_tensor("blk.0.ffn_gate.weight", weights(INNER, WIDTH))
    model.add_tensor("blk.0.ffn_up.weight", weights(INNER, WIDTH))
    model.add_tensor("blk.0.ffn_down.weight", weights(WIDTH, INNER))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    path = Path(sys.argv[2]) / "random.gguf"
    write_model(path)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.hostnames, parameters.port = ["127.0.0.1"], int(sys.argv[1])
    parameters.n_ctx, parameters.n_predict, parameters.use_jinja = 65536, 200, True
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()
