import { useEffect, useState, type FormEvent } from "react";
import { stopAnswer, useAnswer, type AnswerState } from "./useAnswer";

type Answer = { prompt: string; channel: string; state: AnswerState; text: string };
type Conversation = { hub: string; answers: Answer[] };

const api = async (path: string, body?: object) => {
  const answer = await fetch(path, body && { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

export function Chat({ id }: { id: string }) {
  const [{ hub, answers }, setConversation] = useState<Conversation>({ hub: "", answers: [] });
  const [prompt, setPrompt] = useState("");
  const [problem, setProblem] = useState("");

  useEffect(() => {
    api(`/api/conversation?id=${id}`).then(setConversation, () => setProblem("Please reload."));
  }, [id]);

  async function ask(event: FormEvent) {
    event.preventDefault();
    setPrompt("");
    setProblem("");
    try {
      const answer = await api(`/api/chat?id=${id}`, { prompt });
      setConversation(({ answers }) => ({ hub, answers: [...answers, answer] }));
    } catch {
      setPrompt(prompt);
      setProblem("That was not sent. Please try again.");
    }
  }

  return (
    <>
      <Conversations current={id} count={answers.length} />
      <main>
        {/* The first child stays in sight while it grows: see `column-reverse` in the style. */}
        <section className="scroll">
          <div className="answers">
            {answers.length === 0 && <h1>Ask something</h1>}
            {answers.map((answer) => (
              <article key={answer.channel}>
                <p className="prompt">{answer.prompt}</p>
                {answer.state === "streaming" ? (
                  <Streaming hub={hub} channel={answer.channel} />
                ) : (
                  <Text text={answer.text} state={answer.state} />
                )}
              </article>
            ))}
          </div>
        </section>
        {problem && <p className="problem">{problem}</p>}
        <form onSubmit={ask}>
          <input
            aria-label="Question"
            autoFocus
            placeholder="Ask something"
            value={prompt}
            onChange={(event) => setPrompt(event.target.value)}
          />
          <button disabled={!hub || !prompt.trim()}>Send</button>
        </form>
      </main>
    </>
  );
}

function Streaming({ hub, channel }: { hub: string; channel: string }) {
  const { text, state } = useAnswer(hub, channel);
  const [stopping, setStopping] = useState(false);
  const isOpen = ["connecting", "streaming", "reconnecting"].includes(state);

  function stop() {
    setStopping(true);
    stopAnswer(hub, channel).catch(() => setStopping(false));
  }

  return (
    <Text text={text} state={state}>
      {isOpen && (
        <button className="stop" disabled={stopping} onClick={stop}>
          {stopping ? "Stopping" : "Stop"}
        </button>
      )}
    </Text>
  );
}

const SAYS: Record<AnswerState, string> = {
  connecting: "Connecting",
  streaming: "Answering",
  reconnecting: "Connection lost, coming back",
  done: "",
  cancelled: "Stopped",
  error: "The answer broke off",
  incomplete: "A part of this answer is lost",
  expired: "This answer has expired",
};

type TextProps = { text: string; state: AnswerState; children?: React.ReactNode };

function Text({ text, state, children }: TextProps) {
  return (
    <>
      {text && <p className="answer">{text}</p>}
      <p className="state" data-state={state}>
        {SAYS[state]}
        {children}
      </p>
    </>
  );
}

function Conversations({ current, count }: { current: string; count: number }) {
  const [list, setList] = useState<{ id: string; title: string }[]>([]);

  useEffect(() => {
    api("/api/conversations").then(setList, () => {});
  }, [count]);

  return (
    <nav>
      <a className="new" href={`#${crypto.randomUUID()}`}>
        New conversation
      </a>
      {list.map(({ id, title }) => (
        <a key={id} href={`#${id}`} aria-current={id === current ? "page" : undefined}>
          {title}
        </a>
      ))}
    </nav>
  );
}
