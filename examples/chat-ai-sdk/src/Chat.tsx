import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, type UIMessage } from "ai";
import { useMemo, useState, type FormEvent } from "react";

export type Message = UIMessage<{ stopped?: boolean }>;

export function Chat({ id, saved }: { id: string; saved: Message[] }) {
  const path = `/api/chat/${encodeURIComponent(id)}`;
  // How many messages this page has whole. The answer after them may be one that broke off here.
  const [whole] = useState({ messages: saved.length });
  const transport = useMemo(
    () =>
      new DefaultChatTransport<Message>({
        prepareSendMessagesRequest: ({ id, messages }) => ({
          body: { id, message: messages.at(-1) },
        }),
        prepareReconnectToStreamRequest: () => ({
          api: `${path}/stream?messages=${whole.messages}`,
        }),
      }),
    [path, whole],
  );
  const { messages, sendMessage, resumeStream, status } = useChat<Message>({
    id,
    messages: saved,
    transport,
    resume: true,
    onFinish: ({ messages, isAbort, isError }) => {
      if (!isAbort && !isError) whole.messages = messages.length;
    },
  });

  const [prompt, setPrompt] = useState("");
  const [stopping, setStopping] = useState("");
  const isStreaming = status === "submitted" || status === "streaming";
  const asked = messages.findLast(({ role }) => role === "user")?.id ?? "";

  function ask(event: FormEvent) {
    event.preventDefault();
    setPrompt("");
    void sendMessage({ text: prompt });
  }

  // Not the `stop` of `useChat`: that one only leaves, and leaving stops nothing. The stream goes
  // on until the generator has ended it.
  function stop() {
    setStopping(asked);
    fetch(`${path}/stop`, { method: "POST" }).catch(() => setStopping(""));
  }

  return (
    <>
      <header>
        <b>Chat</b>
        <a href={`#${crypto.randomUUID()}`}>New chat</a>
      </header>
      {/* The first child stays in sight while it grows: see `column-reverse` in the style. */}
      <section className="scroll">
        <div className="messages">
          {messages.length === 0 && <h1>Ask something</h1>}
          {messages.map((message) => (
            <article key={message.id} className={message.role}>
              {message.parts.map((part, at) => part.type === "text" && <p key={at}>{part.text}</p>)}
              {message.metadata?.stopped && <small>Stopped</small>}
            </article>
          ))}
          <p className={`state ${status}`} role="status">
            {isStreaming && (
              <>
                Answering
                <button className="quiet" disabled={stopping === asked} onClick={stop}>
                  {stopping === asked ? "Stopping" : "Stop"}
                </button>
              </>
            )}
            {status === "error" && (
              <>
                The connection broke
                <button className="quiet" onClick={() => void resumeStream()}>
                  Resume
                </button>
              </>
            )}
          </p>
        </div>
      </section>
      <form onSubmit={ask}>
        <input
          aria-label="Question"
          autoFocus
          placeholder="Ask something"
          value={prompt}
          onChange={(event) => setPrompt(event.target.value)}
        />
        <button disabled={isStreaming || !prompt.trim()}>Send</button>
      </form>
    </>
  );
}
