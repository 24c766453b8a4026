"""Streams of three APIs in the shape in which they come: what an upstream sends, event by event, as
bytes. Text, ids and times are made up; fields and their order are those of the real ones."""

import json

TEXTS = ["Hello", ",", " wörld", " \U0001f9c0", "!\n\n", "  two\u2028lines", ' "quoted"', " \\"]


def sse(data, event=None):
    """One event, as those APIs write it."""
    compact = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return ((f"event: {event}\n" if event else "") + f"data: {compact}\n\n").encode()


def openai_chat():
    """`POST /chat/completions`: text, a call of a tool, the usage, and `[DONE]`."""
    def chunk(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse(head | {"choices": [choice], "usage": None, "obfuscation": "Xq3"})

    head = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk",
        "created": 1790000000, "model": "gpt-5", "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
    call = {"index": 0, "id": "call_DdmO9pD3xa9XTPNJ", "type": "function"}
    usage = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for text in TEXTS:
        yield chunk({"content": text})
    yield chunk({"tool_calls": [call | {"function": {"name": "weather", "arguments": ""}}]})
    for arguments in ['{"', "city", '": "', "Zürich", '"}']:
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})
    yield chunk({}, "tool_calls")
    yield sse(head | {"choices": [], "usage": usage})
    yield sse("[DONE]")


def openai_responses():
    """`POST /responses`: typed events with a sequence number, and no `[DONE]`."""
    events = []

    def add(type, **fields):
        data = {"type": type, "sequence_number": len(events)} | fields
        events.append(sse(data, type))

    def response(status, output):
        return {
            "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654", "object": "response",
            "created_at": 1790000000, "status": status, "error": None, "model": "gpt-5",
            "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        }

    text = "".join(TEXTS)
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    item = {"id": "msg_67c9fdcf37fc8190ba82116e33fb28c5", "type": "message", "role": "assistant"}
    done = item | {"status": "completed", "content": [part | {"text": text}]}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    add("response.created", response=response("in_progress", []))
    add("response.in_progress", response=response("in_progress", []))
    add("response.output_item.added", output_index=0,
        item=item | {"status": "in_progress", "content": []})
    add("response.content_part.added", **place, part=part)
    for delta in TEXTS:
        add("response.output_text.delta", **place, delta=delta, logprobs=[], obfuscation="aB")
    add("response.output_text.done", **place, text=text, logprobs=[])
    add("response.content_part.done", **place, part=part | {"text": text})
    add("response.output_item.done", output_index=0, item=done)
    add("response.completed", response=response("completed", [done]))
    return events


def anthropic_messages():
    """`POST /v1/messages`: named events, a ping among them."""
    def named(type, **fields):
        return sse({"type": type} | fields, type)

    usage = {"input_tokens": 25, "output_tokens": 1}
    message = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant",
        "model": "claude-opus-4-8", "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": usage,
    }
    yield named("message_start", message=message)
    yield named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield named("ping")
    for text in TEXTS:
        delta = {"type": "text_delta", "text": text}
        yield named("content_block_delta", index=0, delta=delta)
    yield named("content_block_stop", index=0)
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield named("message_delta", delta=delta, usage={"output_tokens": 15})
    yield named("message_stop")
