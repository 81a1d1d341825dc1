"""Python's own multiprocessing, measured by Ringway's comparison.

One argument names the workload. Reads numbers of items, one a line, and answers each with
the nanoseconds that they took. Receivers check what they get.
"""
import ctypes
import multiprocessing as mp
import os
import signal
import sys
import time

STOP = -1


def settle(place):
    """A child's beginning: it ends with its parent, and runs on its processor."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    pin(place)


def pin(place):
    cpus = sorted(ALLOWED)
    if len(cpus) > 1:
        os.sched_setaffinity(0, {cpus[place]})


def batches():
    for line in sys.stdin:
        yield int(line)


def answer(start):
    print(time.perf_counter_ns() - start, flush=True)


def receive(pipe, echo):
    settle(1)
    number = 0
    while True:
        got = int.from_bytes(pipe.recv_bytes(), "little")
        if got == 0:
            pipe.send_bytes(b"done")
            continue
        number += 1
        assert got == number, (got, number)
        if echo:
            pipe.send_bytes(got.to_bytes(8, "little"))


def pipe(echo):
    ours, theirs = mp.Pipe()
    mp.Process(target=receive, args=(theirs, echo), daemon=True).start()
    pin(0)
    number = 0
    for count in batches():
        start = time.perf_counter_ns()
        for _ in range(count):
            number += 1
            ours.send_bytes(number.to_bytes(8, "little"))
            if echo:
                assert int.from_bytes(ours.recv_bytes(), "little") == number
        ours.send_bytes((0).to_bytes(8, "little"))
        assert ours.recv_bytes() == b"done"
        answer(start)


def put(orders, queue):
    settle(0)
    while True:
        for number in range(orders.recv()):
            queue.put(number)
        # Behind its own items; as many putters as getters, so each getter gets one, and
        # behind the last one of all there is nothing.
        queue.put(STOP)


def get(answers, queue):
    settle(1)
    while True:
        answers.recv()
        count = total = 0
        while (item := queue.get()) != STOP:
            count += 1
            total += item
        answers.send((count, total))


def queue(each):
    # Bounded like all others here.
    shared = mp.Queue(1024)
    putters, getters = [], []
    for _ in range(each):
        ours, theirs = mp.Pipe()
        mp.Process(target=put, args=(theirs, shared), daemon=True).start()
        putters.append(ours)
        ours, theirs = mp.Pipe()
        mp.Process(target=get, args=(theirs, shared), daemon=True).start()
        getters.append(ours)
    for count in batches():
        shares = [count // each + (index < count % each) for index in range(each)]
        for answers in getters:
            answers.send(count)
        start = time.perf_counter_ns()
        for orders, share in zip(putters, shares):
            orders.send(share)
        got = [answers.recv() for answers in getters]
        answer(start)
        assert sum(count for count, _ in got) == count, (got, count)
        assert sum(total for _, total in got) == sum(n * (n - 1) // 2 for n in shares)


if __name__ == "__main__":
    mp.set_start_method("fork")
    ALLOWED = os.sched_getaffinity(0)
    workload = sys.argv[1]
    if workload.startswith("queue"):
        queue(int(workload.removeprefix("queue")))
    else:
        pipe(workload == "round_trip")
