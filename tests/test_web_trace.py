"""What is taken out of a trace of Chromium."""

from typing import Any

from scripts import web_trace


def named(pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def task(pid: int, tid: int, wall_us: int, cpu_us: int, name: str = "RunTask") -> dict[str, Any]:
    return {"name": name, "ph": "X", "pid": pid, "tid": tid, "dur": wall_us, "tdur": cpu_us}


TRACE = {
    "traceEvents": [
        named(1, 1, "CrRendererMain"),
        named(1, 2, "Compositor"),
        named(2, 1, "CrBrowserMain"),
        task(1, 1, wall_us=90_000, cpu_us=20_000),
        task(1, 1, wall_us=70_000, cpu_us=60_500),
        task(1, 1, wall_us=99_000, cpu_us=99_000, name="Layout"),
        task(1, 2, wall_us=99_000, cpu_us=99_000),
        task(2, 1, wall_us=99_000, cpu_us=99_000),
    ]
}


def test_only_tasks_of_the_pages_main_thread_count_by_their_processor_time() -> None:
    assert web_trace.main_tasks(TRACE) == [60.5, 20.0]


def test_a_long_task_is_told() -> None:
    cost = web_trace.Cost(web_trace.main_tasks(TRACE), rows_max=36)
    assert cost.long == 1
    assert web_trace.told({"up": cost}, 4).splitlines() == [
        "processor 4 times slower",
        "scrolling    tasks over 50 ms longest ms   rows",
        "up               2          1       60.5     36",
    ]


def test_the_messages_are_the_same_each_time_and_of_many_lengths() -> None:
    texts = web_trace.texts(200)
    assert texts == web_trace.texts(200)
    assert len(set(texts)) == 200
    assert min(len(text) for text in texts) < 30
    assert max(len(text) for text in texts) > 300
    assert any("\n" in text for text in texts)
