import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat, type Message } from "./Chat";
import "./style.css";

// The chat is in the URL: a reload and a second tab show the same.
if (!location.hash) history.replaceState(null, "", `#${crypto.randomUUID()}`);
addEventListener("hashchange", () => location.reload());
const id = location.hash.slice(1);

const answer = await fetch(`/api/chat/${encodeURIComponent(id)}`);
const messages: Message[] = await answer.json();

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Chat id={id} saved={messages} />
  </StrictMode>,
);
