"""Calls of Prefect wait for a server that is away; a real one that comes, goes and refuses."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.prefect_outages import PatientTransport


class Server:
    """Answers each path with the next of its codes; the last one stays."""

    def __init__(self, port: int, **codes: list[int]) -> None:
        self.port, self.codes, self.asked = port, codes, list[str]()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1].strip("/")
        self.asked.append(path)
        codes = self.codes[path]
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        writer.write(
            f"HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", self.port)
        async with server:
            yield


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def patient_client(port: int) -> AsyncIterator[tuple[httpx.AsyncClient, PatientTransport]]:
    url = f"http://127.0.0.1:{port}"
    transport = PatientTransport(httpx.AsyncHTTPTransport())
    with temporary_settings({PREFECT_API_URL: url}):
        async with httpx.AsyncClient(base_url=url, transport=transport) as client:
            yield client, transport


async def test_calls_wait_until_the_server_is_there_and_ready(port: int):
    server = Server(port, ready=[503, 200], act=[200])
    async with patient_client(port) as (client, _):
        calls = [asyncio.create_task(client.post("/act")) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(call.done() for call in calls)
        async with server.up():
            answers = await asyncio.wait_for(asyncio.gather(*calls), 30)
    assert [answer.status_code for answer in answers] == [200] * 3
    # One looked for all of them.
    assert server.asked == ["ready", "ready", "act", "act", "act"]


@pytest.mark.parametrize("code", [500, 502, 503])
async def test_an_answer_that_says_away_is_asked_for_again(port: int, code: int):
    server = Server(port, ready=[200], act=[code, 200])
    async with patient_client(port) as (client, _), server.up():
        assert (await client.post("/act")).status_code == 200


async def test_an_error_of_a_server_that_is_ready_is_given_back(port: int):
    server = Server(port, ready=[200], act=[500])
    async with patient_client(port) as (client, _), server.up():
        assert (await client.post("/act")).status_code == 500
    assert server.asked.count("act") == 4


async def test_other_refusals_are_given_back_at_once(port: int):
    server = Server(port, ready=[200], act=[409])
    async with patient_client(port) as (client, _), server.up():
        assert (await client.post("/act")).status_code == 409
    assert server.asked == ["act"]


async def test_who_is_told_to_stop_waiting_gives_up(port: int):
    async with patient_client(port) as (client, transport):
        call = asyncio.create_task(client.post("/act"))
        await asyncio.sleep(0.2)
        transport.stop_waiting()
        with pytest.raises(httpx.ConnectError):
            await asyncio.wait_for(call, 30)
