// Asks the admin listener. A refusal is thrown with the words of its problem+json.

const WAIT_MS_MAX = 10_000;

const path = (channel) => channel.split("/").map(encodeURIComponent).join("/");

/** Where this page's hub has something; relative, so that a proxy may put it under a path. */
export function urlOf(name, query = {}) {
  const url = new URL(`api/${name}`, document.baseURI.replace(/#.*/s, ""));
  for (const [key, value] of Object.entries(query)) {
    if (value !== "" && value !== undefined) url.searchParams.set(key, value);
  }
  return url;
}

export const urlOfChannel = (channel, query) => urlOf(`channels/${path(channel)}`, query);

/** Where in this page a channel is shown. */
export const linkTo = (channel) => `#/channels/${path(channel)}`;

/** An answer that is an error. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks for JSON; `signal` ends the wait early. */
export async function ask(url, { signal, ...options } = {}) {
  const tooLong = AbortSignal.timeout(WAIT_MS_MAX);
  const either = signal ? AbortSignal.any([signal, tooLong]) : tooLong;
  const answer = await fetch(url, { ...options, signal: either }).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Error("The hub did not answer.");
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json().catch(() => ({}));
}

/** The error that an answer tells of. */
export async function refusal(answer) {
  const { title, detail } = await answer.json().catch(() => ({}));
  const words = [title ?? `The hub answered ${answer.status}`, detail].filter(Boolean).join(": ");
  return new Refused(answer.status, words);
}
