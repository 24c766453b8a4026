import { createRoot } from "react-dom/client";
import { Chat } from "./Chat";

// The conversation is in the URL: a reload and a second tab show the same.
if (!location.hash) history.replaceState(null, "", `#${crypto.randomUUID()}`);
addEventListener("hashchange", () => location.reload());

createRoot(document.getElementById("root")!).render(<Chat id={location.hash.slice(1)} />);
