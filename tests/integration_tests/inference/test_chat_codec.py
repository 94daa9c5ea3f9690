"""The codec on the embedded model's tokenizer."""

import pytest

from langchain_darwin.inference.chat_codec import ChatCodec
from tests.codec_contract import CodecContract, assistant, system, user
from tests.tiny_models import embedded_tokenizer


class TestEmbedded(CodecContract):
    @pytest.fixture(scope="class")
    @classmethod
    def codec(cls):
        tokenizer = embedded_tokenizer()
        return ChatCodec(tokenizer, frozenset({tokenizer.eos_token_id}))

    def test_chat_is_the_template_to_the_letter(self, codec):
        conversation = [system("Be brief."), user("Hi"), assistant("Hello!"), user("Bye")]
        assert codec.tokenizer.decode(codec.encode_chat(conversation)) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
        )
