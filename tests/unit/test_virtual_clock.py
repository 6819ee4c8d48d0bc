"""A clock that goes where it is told to, and calls what is due on its way."""

import asyncio

from kusciajob.simulation.clock import START, Mode, VirtualClock


async def test_timers_are_called_in_order_each_at_its_time() -> None:
    clock, told = VirtualClock(), list[tuple[str, float]]()
    clock.call_later(20, lambda: told.append(("late", clock.now())))
    clock.call_later(10, lambda: told.append(("early", clock.now())))
    clock.call_later(15, lambda: told.append(("never", clock.now()))).cancel()
    clock.land(START + 30)
    assert told == [("early", START + 10), ("late", START + 20)]
    assert (clock.now(), clock.next_at) == (START + 30, None)


async def test_upkeep_does_not_stop_time_but_is_called_at_a_landing() -> None:
    clock, told = VirtualClock(), list[float]()
    clock.upkeep.call_later(10, lambda: told.append(clock.now()))
    assert clock.next_at is None
    clock.land(START + 5)
    assert told == []
    clock.land(START + 500)
    assert told == [START + 10]


async def test_a_time_out_is_one_of_its_time() -> None:
    clock = VirtualClock()

    async def wait() -> str:
        try:
            async with clock.timeout(60):
                await asyncio.Event().wait()
        except TimeoutError:
            return "over"
        return "never"

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    clock.land(START + 59)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.land(START + 60)
    assert await waiting == "over"


async def test_after_a_reset_nothing_hangs_and_it_is_the_start() -> None:
    clock = VirtualClock()
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.land(START + 60)
    clock.reset(Mode.AUTO)
    await sleeping
    assert (clock.now(), clock.mode, clock.next_of_all) == (START, Mode.AUTO, None)


async def test_cancelled_timers_are_not_kept() -> None:
    clock = VirtualClock()
    for _ in range(10_000):
        clock.call_later(60, lambda: None).cancel()
    assert len(clock._timers._heap) < 2_000
