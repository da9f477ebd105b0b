"""Memory that was used once goes back to the system."""

import platform
import subprocess
import sys

import pytest

# Pieces between which small ones stay, as in a graph that was read: only trimming frees their pages.
PIECES = """
import os
from app.engine import heap

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

pieces, kept = [], []
for _ in range(500):
    pieces.append(bytearray(b"x" * 100_000))
    kept.append(bytearray(600))
del pieces
before = resident()
heap.give_back()
print(before - resident())
"""

# Threads that each take and give back what a picture takes.
THREADS = """
import ctypes, sys, threading
from app.measure.engine import LocalEngine
from app.settings import Settings
if sys.argv[1] == "engine":
    LocalEngine(Settings(_env_file=None)).close()
barrier = threading.Barrier(4)
def work():
    barrier.wait()
    pieces = [b"z" * 50_000 for _ in range(20)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


def run(program: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_what_is_free_goes_back() -> None:
    assert int(run(PIECES)) > 10_000_000


def test_threads_share_one_heap_where_there_is_an_engine() -> None:
    assert run(THREADS, "engine").count("<heap nr=") == 1
    assert run(THREADS, "none").count("<heap nr=") > 1
