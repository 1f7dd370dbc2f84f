"""A program that ends while a thread of ours is in torch."""

from __future__ import annotations

import subprocess
import sys
import threading

from steer.threads import begin
from tests.support import ROOT

STREAMING = """
import steer
from tests.support import tiny

model = tiny.tiny_model("llama")
edit = steer.Intervention("tiny", [steer.Clamp(5, 4.0)])
stream = model.stream(tiny.PROMPT, edit, dictionaries=[tiny.dictionary()], max_new_tokens=50)
pieces = iter(stream)
next(pieces)
keep = [pieces]  # so that the loop is not left before the end
print("end")
"""
MULTIPLYING = """
import threading
import torch
from steer.threads import begin

stop, begun = threading.Event(), threading.Event()

def work():
    x = torch.ones(600, 600)
    while not stop.is_set():
        x = (x @ x).clamp(max=1)
        begun.set()
    print("stopped", flush=True)

begin(work, stop.set)
begun.wait()
print("end", flush=True)
"""


def ended(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_program_may_end_while_a_stream_runs() -> None:
    whole = ended(STREAMING)
    assert (whole.returncode, whole.stdout) == (0, "end\n"), whole.stderr


def test_a_thread_is_told_to_stop_and_waited_for() -> None:
    whole = ended(MULTIPLYING)
    assert (whole.returncode, whole.stdout) == (0, "end\nstopped\n"), whole.stderr


def test_one_that_ended_is_not_stopped_later() -> None:
    stopped = threading.Event()
    begin(lambda: None, stopped.set).join()
    assert not stopped.is_set()
