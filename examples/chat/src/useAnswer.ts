// An answer as it streams: the browser's own EventSource on the answer's channel.

import { useEffect, useState } from "react";

export type AnswerState =
  | "connecting"
  | "streaming"
  | "reconnecting"
  | "done"
  | "cancelled"
  | "error"
  | "incomplete"
  | "expired";

export function useAnswer(hub: string, channel: string) {
  const [text, setText] = useState("");
  const [state, setState] = useState<AnswerState>("connecting");

  useEffect(() => {
    // From the start, so that a reload and a second tab have everything; `coalesce` sends what has
    // been said already in few events. The browser itself resumes after a lost connection.
    const query = "from=start&must_exist&coalesce=openai-chat";
    const events = new EventSource(`${hub}/channels/${channel}?${query}`);
    const end = (state: AnswerState) => {
      events.close();
      setState(state);
    };
    setText("");
    setState("connecting");

    events.onopen = () => setState("streaming");
    events.onmessage = ({ data }) => {
      if (data === "[DONE]") return;
      const delta = JSON.parse(data).choices[0]?.delta.content ?? "";
      setText((text) => text + delta);
    };
    events.addEventListener("fanfare.end", ({ data }) => end(JSON.parse(data).reason));
    // The hub has not kept all that this page has yet to see: better no text than one with a hole.
    events.addEventListener("fanfare.gap", () => end("incomplete"));
    events.onerror = async () => {
      if (events.readyState !== EventSource.CLOSED) return setState("reconnecting");
      // The browser gave up, and cannot say why: the channel is finished, or is no more.
      const status = await fetch(`${hub}/status/${channel}`).catch(() => null);
      if (status?.status === 404) return end("expired");
      end(status?.ok ? ((await status.json()).reason ?? "error") : "error");
    };
    return () => events.close();
  }, [hub, channel]);

  return { text, state };
}

/** Asks for an end of the answer: the hub tells the generator, wherever that is. */
export async function stopAnswer(hub: string, channel: string) {
  const { ok, status } = await fetch(`${hub}/cancel/${channel}`, { method: "POST" });
  if (!ok) throw new Error(`not stopped: ${status}`);
}
