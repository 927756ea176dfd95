"""The process layer keeps the channel layer's promises, and costs only what it reaches."""

import asyncio

import pytest
from channels.exceptions import ChannelFull

from chat.layers import FrozenMessage, ProcessChannelLayer


@pytest.fixture
def layer() -> ProcessChannelLayer:
    return ProcessChannelLayer(capacity=3)


async def test_messages_come_in_order(layer: ProcessChannelLayer) -> None:
    """Messages are received in the order of the sends, also those sent before the first receive."""
    for number in range(3):
        await layer.send("here", {"type": "t", "number": number})
    assert [(await layer.receive("here"))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_full_channel_refuses(layer: ProcessChannelLayer) -> None:
    """Past the capacity a send raises; a group goes on to the members that have room."""
    for _ in range(3):
        await layer.send("full", {"type": "t"})
    with pytest.raises(ChannelFull):
        await layer.send("full", {"type": "t"})
    await layer.group_add("g", "full")
    await layer.group_add("g", "free")
    await layer.group_send("g", {"type": "group"})
    assert (await layer.receive("free"))["type"] == "group"


async def test_a_group_reaches_its_members_only(layer: ProcessChannelLayer) -> None:
    """Each member gets a message once; discarded channels and other groups get none."""
    for group, channel in (("g", "a"), ("g", "b"), ("g", "b"), ("g", "gone"), ("other", "c")):
        await layer.group_add(group, channel)
    await layer.group_discard("g", "gone")
    await layer.group_discard("nobody", "gone")
    await layer.group_send("g", {"type": "t"})
    for channel in ("a", "b"):
        assert (await layer.receive(channel)) == {"type": "t"}
    for channel in ("a", "b", "gone", "c"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(channel), 0)


async def test_members_share_nothing(layer: ProcessChannelLayer) -> None:
    """A receiver that changes its message does not change the sender's or the others'."""
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    sent = {"type": "t", "list": [1]}
    await layer.group_send("g", sent)
    received = await layer.receive("a")
    received["list"].append(2)
    assert sent["list"] == (await layer.receive("b"))["list"] == [1]


async def test_a_foreign_message_is_copied_at_any_depth(layer: ProcessChannelLayer) -> None:
    """A mutable value inside tuples is copied too: the sender has promised nothing."""
    inner = {"seen": [1]}
    await layer.send("here", {"type": "t", "parts": ((inner,),)})
    inner["seen"].append(2)
    assert (await layer.receive("here"))["parts"] == (({"seen": [1]},),)


async def test_a_frozen_message_is_not_checked(layer: ProcessChannelLayer) -> None:
    """Receivers share the values of a frozen message, and each gets a plain dict of its own."""
    parts = (("changes", "e", ((1, 1, "frame", None, False),)),)
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    sent = FrozenMessage(type="t", parts=parts)
    await layer.group_send("g", sent)
    first, second = await layer.receive("a"), await layer.receive("b")
    assert type(first) is dict
    assert first["parts"] is second["parts"] is parts
    del first["type"]
    assert sent["type"] == second["type"] == "t"


async def test_several_receivers_of_one_channel_each_get_one(layer: ProcessChannelLayer) -> None:
    """Two calls that wait for the same channel get a message each, whatever comes in between."""
    waiting = [asyncio.create_task(layer.receive("here")) for _ in range(2)]
    await asyncio.sleep(0)
    await layer.send("here", {"type": "t", "number": 1})
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await layer.send("here", {"type": "t", "number": 2})
    assert sorted(message["number"] for message in await asyncio.gather(*waiting)) == [1, 2]


async def test_a_cancelled_receive_loses_nothing(layer: ProcessChannelLayer) -> None:
    """A message that comes after a cancelled receive is there for the next one."""
    waiting = asyncio.create_task(layer.receive("here"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await layer.send("here", {"type": "t"})
    assert await layer.receive("here") == {"type": "t"}


async def test_nothing_is_kept_of_what_is_over(layer: ProcessChannelLayer) -> None:
    """Channels that were read to the end and groups that were left take no memory."""
    for number in range(100):
        channel = await layer.new_channel()
        await layer.group_add(f"g{number}", channel)
        await layer.group_send(f"g{number}", {"type": "t"})
        await layer.receive(channel)
        await layer.group_discard(f"g{number}", channel)
    assert [len(kept) for kept in (layer._queues, layer._groups, layer._receivers)] == [0, 0, 0]


async def test_flush_forgets_all(layer: ProcessChannelLayer) -> None:
    """After a flush no message and no membership is left."""
    await layer.group_add("g", "here")
    await layer.send("here", {"type": "before"})
    await layer.flush()
    await layer.group_send("g", {"type": "t"})
    await layer.send("here", {"type": "after"})
    assert (await layer.receive("here"))["type"] == "after"


@pytest.mark.parametrize("name", ["with space", "ü", "x" * 100, ""])
async def test_names_are_checked(layer: ProcessChannelLayer, name: str) -> None:
    """A name that other layers would refuse is refused here too."""
    with pytest.raises(TypeError):
        await layer.send(name, {"type": "t"})
    with pytest.raises(TypeError):
        await layer.group_add(name, "here")
    with pytest.raises(TypeError):
        await layer.group_send(name, {"type": "t"})


async def test_a_message_is_a_dict(layer: ProcessChannelLayer) -> None:
    with pytest.raises(TypeError, match="must be a dict, not str"):
        await layer.send("here", "text")  # type: ignore[arg-type]
