"""Which attention kernels a forward pass may take, and what its masks show."""

import torch

from langchain_darwin.inference.memory.forward import additive_masks, attention_kernels


def enabled():
    cuda = torch.backends.cuda
    return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled(), cuda.cudnn_sdp_enabled()


def test_attention_on_cuda_does_without_cudnn():
    before = enabled()
    with attention_kernels(torch.device("cuda")):
        assert enabled() == (True, True, True, False)
    assert enabled() == before


def test_attention_elsewhere_is_left_alone():
    before = enabled()
    with attention_kernels(torch.device("cpu")):
        assert enabled() == before


def test_masks_show_a_token_itself_and_what_is_before_it_within_the_window():
    positions = torch.tensor([[1], [3]])
    masks = additive_masks(positions, 6, {"full_attention": None, "sliding_attention": 2}, torch.float32)
    shown = {kind: [(row == 0).nonzero()[:, 0].tolist() for row in mask[:, 0, 0]] for kind, mask in masks.items()}
    assert shown == {"full_attention": [[0, 1], [0, 1, 2, 3]], "sliding_attention": [[0, 1], [2, 3]]}
