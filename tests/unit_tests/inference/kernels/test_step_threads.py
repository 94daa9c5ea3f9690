from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from langchain_darwin.inference.kernels import step_threads as module
from langchain_darwin.inference.kernels.step_threads import StepThreads, set_own_threads, step_threads


class Machine:
    """A clock that goes on as long as a step takes with the threads that are set, and a record of those."""

    def __init__(self, seconds):
        self.seconds, self.threads, self.now, self.set = seconds, 4, 0.0, []
        self.chooser = StepThreads(4, self.set_threads, lambda: self.now)

    def set_threads(self, threads):
        self.threads = threads
        self.set.append(threads)

    def step(self, rows=5, new=1):
        def forward():
            self.now += self.seconds[self.threads]
            return self.threads

        return self.chooser.compute(rows, new, forward)


@pytest.mark.parametrize("faster", [1, 4])
def test_steps_take_what_was_faster_when_it_was_tried(faster):
    machine = Machine({1: 1.5, 4: 1.5, faster: 1.0})
    turns = [1] * 4 + [4] * 4
    assert [machine.step() for _ in range(32)] == turns * 3 + [faster] * 8


def test_one_thread_is_taken_where_several_bring_nothing():
    machine = Machine({1: 1.0, 4: 0.99})
    assert [machine.step() for _ in range(25)][-1] == 1


def test_a_slow_beginning_is_not_blamed_on_the_first_number():
    machine = Machine({1: 9.0, 4: 1.5})
    [machine.step() for _ in range(4)]
    machine.seconds = {1: 1.0, 4: 1.5}
    assert [machine.step() for _ in range(21)][-1] == 1


def test_each_number_of_rows_is_tried_by_itself_up_to_its_power_of_two():
    machine = Machine({1: 1.5, 4: 1.0})
    assert [machine.step(rows=5) for _ in range(25)][-1] == 4
    assert [machine.step(rows=7), machine.step(rows=8)] == [4, 1]


def test_it_is_tried_again_after_a_while():
    machine = Machine({1: 1.0, 4: 1.5})
    assert [machine.step() for _ in range(500)][-1] == 1
    machine.seconds = {1: 1.5, 4: 1.0}
    assert [machine.step() for _ in range(26)] == ([1] * 4 + [4] * 4) * 3 + [4] * 2


def test_a_hopeless_number_is_given_up_at_its_first_step_and_tried_ever_more_seldom():
    machine = Machine({1: 1.0, 4: 80.0})
    steps = [machine.step() for _ in range(9000)]
    assert [place for place, threads in enumerate(steps) if threads == 4] == [4, 1004, 3004, 7004]


def test_a_machine_that_becomes_busy_is_noticed_within_a_few_steps():
    machine = Machine({1: 1.5, 4: 1.0})
    [machine.step() for _ in range(60)]
    machine.seconds = {1: 1.5, 4: 80.0}
    assert [machine.step() for _ in range(14)] == [4] * 3 + [1] * 4 + [4] + [1] * 6


def test_long_prompts_take_all_threads_and_short_ones_change_nothing():
    machine = Machine({1: 1.0, 4: 1.5})
    [machine.step() for _ in range(25)]
    machine.set.clear()
    assert [machine.step(rows=5, new=2), machine.step(rows=1, new=64), machine.step()] == [1, 4, 1]
    assert machine.set == [4, 1]


def test_long_prompts_take_one_thread_while_several_are_hopeless():
    machine = Machine({1: 1.0, 4: 80.0})
    assert machine.step(new=64) == 4
    [machine.step() for _ in range(5)]
    assert machine.step(new=64) == 1


def model(dtype=torch.bfloat16, device="cpu"):
    linear = torch.nn.Linear(8, 8, dtype=dtype)
    return SimpleNamespace(dtype=dtype, device=torch.device(device), modules=lambda: iter([linear]))


def packed(model):
    model.modules = lambda: iter([torch.nn.GELU()])
    return model


def test_there_is_a_choice_where_results_do_not_depend_on_it(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "_torch_threads", lambda: 2)
    assert isinstance(step_threads(model()), StepThreads)
    assert isinstance(step_threads(packed(model(dtype=torch.float32))), StepThreads)
    assert step_threads(model(dtype=torch.float32)) is None
    assert step_threads(model(device="meta")) is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert step_threads(model()) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(module, "_torch_threads", lambda: 1)
    assert step_threads(model()) is None


def in_new_thread(call):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_only_the_calling_thread_is_set(monkeypatch):
    usual = torch.get_num_threads()
    monkeypatch.setattr(module, "_torch_threads", lambda: usual)

    def own():
        set_own_threads(usual + 1)
        return torch.get_num_threads(), in_new_thread(torch.get_num_threads)

    assert in_new_thread(own) == (usual + 1, usual)
    assert torch.get_num_threads() == usual
