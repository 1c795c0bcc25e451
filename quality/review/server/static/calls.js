// Calls to the server. A call that finds no server is made again, with the same key: what is sent twice is recorded once.

const SECONDS = 120; // that a call is tried for

export class Refused extends Error {
  constructor(word) {
    super(word);
    this.word = word;
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

export async function call(path, body, { csrf, onLost = () => {} }) {
  const until = Date.now() + SECONDS * 1000;
  for (;;) {
    let response = null;
    try {
      response = await fetch(path, {
        method: "POST",
        headers: { "content-type": "application/json", "x-csrf-token": csrf },
        body: JSON.stringify(body),
      });
      if (response.status < 500) return await read(response);
    } catch (error) {
      if (error instanceof Refused) throw error; // else: no server, or it went away while it answered
    }
    if (Date.now() > until) throw new Refused("failed");
    onLost();
    await wait(300 + Math.random() * 1200); // not all at once when it comes back
  }
}

async function read(response) {
  if (response.status === 401) {
    location.assign("/login");
    throw new Refused("login");
  }
  const found = await response.json();
  if (!response.ok) throw new Refused(found.refused ?? "error");
  return found;
}

export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
