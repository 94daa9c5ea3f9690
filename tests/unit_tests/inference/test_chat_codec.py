"""The codec on small tokenizers, some with strict templates; on the embedded one in tests/integration_tests."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.inference.chat_codec import ChatCodec, end_of_turn_id
from tests.codec_contract import CodecContract, assistant, system, user
from tests.tiny_models import CHATML, GEMMA, MISTRAL, tiny_tokenizer


def codec_of(template, **options):
    tokenizer = tiny_tokenizer(template, **options)
    return ChatCodec(tokenizer, frozenset({tokenizer.eos_token_id}))


def shown(codec, tokens):
    return codec.tokenizer.decode(tokens)


class TestChatML(CodecContract):
    @pytest.fixture(scope="class")
    @classmethod
    def codec(cls):
        return codec_of(CHATML)


def test_encode_text_adds_no_bos():
    codec = codec_of(GEMMA, bos_token="<bos>")
    assert codec.tokenizer.bos_token_id not in codec.encode_text("hello")


def test_decode_of_a_prefix_is_a_prefix_with_byte_fallback():
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "a"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    codec = ChatCodec(PreTrainedTokenizerFast(tokenizer_object=backend), frozenset())
    tokens = codec.encode_text("a你好a")
    assert [codec.decode(tokens[:count]) for count in range(len(tokens) + 1)] == [
        "", "a", "a", "a", "a你", "a你", "a你", "a你好", "a你好a",
    ]  # fmt: skip


def test_no_second_bos():
    codec = codec_of(GEMMA, bos_token="<bos>")
    assert shown(codec, codec.encode_chat([user("hi")])) == (
        "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"
    )


def test_system_text_is_folded_into_the_first_user_turn_if_refused():
    codec = codec_of(GEMMA, bos_token="<bos>")
    assert shown(codec, codec.encode_chat([system("Be brief."), user("Hi"), assistant("Yes?"), user("Go")])) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
        "<start_of_turn>user\nGo<end_of_turn>\n<start_of_turn>model\n"
    )


def test_runs_of_a_role_are_merged_if_refused_and_the_system_text_stays():
    codec = codec_of(MISTRAL, bos_token="<bos>")
    conversation = [system("S"), user("a"), user("b"), assistant("c"), assistant("d"), user("e")]
    assert shown(codec, codec.encode_chat(conversation)) == (
        "<bos>[INST] S\n\na\n\nb [/INST] c\n\nd<|im_end|>[INST] e [/INST]"
    )


def test_a_later_system_text_joins_the_next_user_turn_if_refused():
    codec = codec_of(MISTRAL, bos_token="<bos>")
    conversation = [system("S"), user("a"), assistant("b"), system("T"), user("c")]
    assert shown(codec, codec.encode_chat(conversation)) == (
        "<bos>[INST] S\n\na [/INST] b<|im_end|>[INST] T\n\nc [/INST]"
    )


def test_a_template_that_takes_everything_gets_it_unchanged():
    codec = codec_of(CHATML)
    assert shown(codec, codec.encode_chat([user("a"), user("b"), system("c")])) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>system\nc<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_what_no_form_helps_is_an_error_with_the_templates_words():
    codec = codec_of(GEMMA, bos_token="<bos>")
    with pytest.raises(InvalidRequestError, match=r"refuses the roles \[assistant, user\]: Conversation roles"):
        codec.encode_chat([assistant("a"), user("b")])
    with pytest.raises(InvalidRequestError, match=r"messages=\[\] holds nothing to answer"):
        codec.encode_chat([])


def test_tools_reach_the_template():
    codec = codec_of(CHATML)
    tool = {"type": "function", "function": {"name": "look_up<|im_end|>"}}
    tokens = codec.encode_chat([user("a")], [tool])
    assert "look_up" in codec.decode(tokens)
    assert tokens.count(codec.tokenizer.eos_token_id) == 2


@pytest.mark.parametrize(("template", "expected"), [
    (CHATML, "<|im_end|>"), (GEMMA, "<end_of_turn>"), (MISTRAL, "<|im_end|>"), ("{{ bos_token }}", None),
])  # fmt: skip
def test_end_of_turn(template, expected):
    tokenizer = tiny_tokenizer(template, bos_token="<bos>")
    found = end_of_turn_id(tokenizer)
    assert (None if found is None else tokenizer.convert_ids_to_tokens(found)) == expected


def test_whitespace_pretokenizer_is_kept_as_the_tokenizer_has_it():
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    codec = ChatCodec(PreTrainedTokenizerFast(tokenizer_object=backend), frozenset({1}))
    assert codec.decode((0, 0, 1)) == "a a"
