"""What the Python scripts share: steps that print their name, and waiting for a continuous query."""

import sys
import time
import traceback

PATIENCE_S = 30


def run(*steps):
    for step in steps:
        try:
            step()
        except BaseException:
            print(f"FAILED {step.__name__}: {traceback.format_exc()}")
            sys.exit(1)
        print(f"ok {step.__name__}", flush=True)


def until(ask, passes):
    end = time.monotonic() + PATIENCE_S
    while True:
        answer = ask()
        if passes(answer):
            return answer
        assert time.monotonic() < end, answer
        time.sleep(0.1)
