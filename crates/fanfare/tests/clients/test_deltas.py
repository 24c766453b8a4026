"""Deltas that the hub puts together: the clients of OpenAI and Anthropic make the same message of
few events as of all of them, replayed and live."""

import pathlib
import threading

import anthropic
import httpx
import httpx2
import openai
import pytest

from hub import DEADLINE_S, until

STREAMS = pathlib.Path(__file__).parents[3] / "fanfare-server" / "tests" / "streams"


class Asking(httpx2.HTTPTransport):
    """Whatever a client posts, it gets a URL of the hub."""

    def __init__(self, url):
        super().__init__()
        self.url, self.bytes, self.is_open = url, b"\n", False

    def events(self):
        return self.bytes.count(b"\nid: ")

    def handle_request(self, request):
        answer = super().handle_request(httpx2.Request("GET", self.url))
        answer.stream = self.Stream(self, answer.stream)
        self.is_open = True
        return answer

    class Stream(httpx2.SyncByteStream):
        def __init__(self, transport, stream):
            self.transport, self.stream = transport, stream

        def __iter__(self):
            for part in self.stream:
                self.transport.bytes += part
                yield part

        def close(self):
            self.stream.close()


def openai_client(transport):
    return openai.OpenAI(
        api_key="none", max_retries=0,
        http_client=httpx2.Client(transport=transport, timeout=DEADLINE_S))


def read_chat(transport):
    """The final completion as the client's own accumulation has it."""
    question = [{"role": "user", "content": "Hello?"}]
    completions = openai_client(transport).chat.completions
    with completions.stream(model="gpt-5", messages=question) as stream:
        stream.until_done()
        return stream.get_final_completion().to_dict()


def read_responses(transport):
    """The final response, and each text as the client's own accumulation has it."""
    texts = {}
    with openai_client(transport).responses.stream(model="gpt-5", input="Hello?") as stream:
        for event in stream:
            if event.type.endswith(".delta"):
                of = (event.type, event.item_id)
                texts[of] = getattr(event, "snapshot", texts.get(of, "") + event.delta)
        return texts, stream.get_final_response().to_dict()


def read_messages(transport):
    """The final message as the client's own accumulation has it."""
    client = anthropic.Anthropic(
        api_key="none", max_retries=0,
        http_client=httpx2.Client(transport=transport, timeout=DEADLINE_S))
    question = [{"role": "user", "content": "Hello?"}]
    with client.messages.stream(
            model="claude-opus-4-8", max_tokens=100, messages=question) as stream:
        return stream.get_final_message().to_dict()


FORMATS = {
    "openai-chat": read_chat, "openai-responses": read_responses, "anthropic": read_messages,
}


def publish(hub, name, query=""):
    """Publishes a stream as a service sends it; answers how many events it has."""
    answer = httpx.post(
        f"{hub.url}/channels/{name}{query}", content=(STREAMS / f"{name}.sse").read_bytes(),
        headers={"Content-Type": "text/event-stream"})
    assert answer.status_code == 200, answer.text
    return answer.json()["accepted"]


@pytest.mark.parametrize(("name", "read"), FORMATS.items(), ids=FORMATS)
def test_a_replay_gives_the_same_message_in_few_events(hub, name, read):
    count = publish(hub, name, "?close")
    url = f"{hub.url}/channels/{name}?from=start&control=off"
    plain, few = Asking(url), Asking(f"{url}&coalesce={name}")
    message = read(plain)
    assert "Nothing is lost, nothing comes twice" in str(message)
    assert read(few) == message
    assert plain.events() == count and few.events() * 8 < count, few.bytes


@pytest.mark.parametrize(("name", "read"), FORMATS.items(), ids=FORMATS)
def test_a_live_stream_gives_the_same_message(hub, name, read):
    url = f"{hub.url}/channels/{name}?control=off"
    transports = [Asking(url), Asking(f"{url}&coalesce={name}&window=25")]
    messages = [None, None]

    def follow(at):
        messages[at] = read(transports[at])

    threads = [threading.Thread(target=follow, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: all(transport.is_open for transport in transports), "both follow")
    count = publish(hub, name, "?close")
    for thread in threads:
        thread.join(DEADLINE_S)
    assert messages[0] is not None and messages[0] == messages[1]
    assert transports[0].events() == count and transports[1].events() < count

