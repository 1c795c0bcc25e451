// Judging by keyboard. The list holds what was answered in this sitting, then the item at hand, then one that is loaded ahead.

import { Refused, call, newKey } from "./calls.js";
import { Picture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const root = $("judge");
const words = JSON.parse(root.dataset.words);
const say = (key, values = {}) => {
  $("status").textContent = (words[key] ?? "").replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
};
const post = (path, body) => call(path, body, { csrf: root.dataset.csrf, onLost: () => say("js_offline") });

const items = []; // {…item, answer, shownAt}
let at = -1;
let busy = false; // one act at a time: a key held down answers once
let nothing = null; // why there is no item: js_nothing, js_rest, js_full

const picture = new Picture({ image: $("image"), missing: $("no-image"), onLook: (task) => post("/api/reveal", { task }) });
picture.grey = root.dataset.grey === "1";
$("grey").setAttribute("aria-pressed", picture.grey);
$("reveal").hidden = root.dataset.sharp === "1";

const current = () => items[at] ?? null;
const isOpen = (item) => item !== null && item.answer === null;
const open = () => items.filter(isOpen);

// ---- getting items

let asked = Promise.resolve();

/** Asks for one more item, unless there are enough by then; whether there are. One after the other: two at once are given the same item. */
function more(enough) {
  asked = asked.catch(() => {}).then(() => enough() || ask());
  return asked;
}

async function ask() {
  const found = await post("/api/next", { shown: open().map((item) => item.task) });
  if (found.item === null) {
    nothing = found.rest ? ["js_rest", { n: found.rest }] : found.full ? ["js_full", {}] : ["js_nothing", {}];
    return false;
  }
  nothing = null;
  const known = items.findIndex((item) => item.task === found.item.task);
  if (known >= 0 && isOpen(items[known])) return true; // it was taken back while this was under way
  if (known >= 0) items.splice(known, 1);
  if (known >= 0 && known < at) at -= 1;
  items.push({ ...found.item, answer: null, shownAt: null });
  picture.load(found.item.task);
  return true;
}

async function ahead() {
  try {
    await more(() => open().length >= 2);
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // it is asked for again when it is needed
  }
}

async function toOpen() {
  let next = items.findIndex((item, index) => index >= at && isOpen(item));
  if (next < 0) {
    const some = await more(() => open().length > 0);
    next = some ? items.findIndex(isOpen) : items.length;
  }
  at = next;
  show();
  if (next < items.length) ahead();
}

// ---- showing them

function show() {
  const item = current();
  root.dataset.task = item?.task ?? "";
  root.dataset.empty = item ? "0" : "1";
  picture.sharp = false;
  $("reveal").setAttribute("aria-pressed", "false");
  closeWhy();
  picture.show(item?.task ?? null);
  $("subject").textContent = item?.subject ?? "";
  $("ask").textContent = item?.ask ?? "";
  $("caption").textContent = item?.caption ?? "";
  $("lines").replaceChildren(...(item?.lines ?? []).map(line));
  $("note").value = item?.note ?? "";
  for (const button of $("answers").children) {
    button.disabled = !isOpen(item);
    button.setAttribute("aria-pressed", item?.answer === button.dataset.answer);
  }
  $("skip").disabled = !isOpen(item);
  if (item === null) {
    $("subject").textContent = words[nothing[0]].replace("{n}", nothing[1].n ?? "");
  } else if (item.answer !== null) {
    say("js_your_answer", { answer: $("answers").querySelector(`[data-answer=${item.answer}]`).firstChild.textContent.trim() });
  } else {
    item.shownAt ??= performance.now();
  }
  $("subject").focus({ preventScroll: true });
  if (items.length > 60) {
    items.shift();
    at -= 1;
  }
  picture.keep(new Set(items.slice(Math.max(0, at - 3)).map((each) => each.task)));
}

function line([name, text]) {
  const row = document.createElement("div");
  const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  detail.textContent = text;
  detail.dir = "auto";
  row.append(term, detail);
  return row;
}

// ---- acts

async function act(work) {
  if (busy) return;
  busy = true;
  root.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await refused(error.word);
  } finally {
    busy = false;
    root.setAttribute("aria-busy", "false");
  }
}

async function refused(word) {
  const item = current();
  if (word === "gone" || word === "answered") {
    items.splice(items.indexOf(item), 1);
    at = Math.min(at, items.length);
    await toOpen();
  }
  const known = { gone: "js_gone", answered: "js_answered", settled: "js_settled", nothing: "js_undo_nothing", bad: "js_bad" };
  say(known[word] ?? "js_failed");
}

const decide = (answer, reasons = []) =>
  act(async () => {
    const item = current();
    if (!isOpen(item)) return;
    if (item.keep && answer === "no" && reasons.length === 0 && !$("note").value.trim() && $("why").hidden) {
      openWhy();
      return;
    }
    say("js_saving");
    const seconds = (performance.now() - item.shownAt) / 1000;
    item.key ??= newKey(); // kept until the answer is saved
    const note = $("note").value.trim();
    await post("/api/decide", { task: item.task, key: item.key, answer, reasons, note, seconds, grey: picture.grey });
    Object.assign(item, { answer, note, key: null });
    await toOpen();
    say("js_saved");
  });

const skip = () =>
  act(async () => {
    const item = current();
    if (!isOpen(item)) return;
    await post("/api/skip", { task: item.task, key: newKey() });
    items.splice(at, 1);
    await toOpen();
    say("js_skipped");
  });

const undo = () =>
  act(async () => {
    const item = current();
    const found = (await post("/api/undo", { task: item?.answer ? item.task : null, key: newKey() })).item;
    const known = items.findIndex((each) => each.task === found.task);
    const again = { ...found, answer: null, shownAt: null };
    if (known >= 0) {
      items[known] = again;
      at = known;
    } else {
      at = Math.max(0, at);
      items.splice(at, 0, again);
    }
    show();
    say("js_undone");
  });

const move = (step) =>
  act(async () => {
    if (at + step < 0) {
      say("js_first");
      return;
    }
    if (!(await more(() => at + step < items.length))) {
      say(...nothing);
      return;
    }
    say("");
    at += step;
    show();
    if (step > 0) ahead();
  });

// ---- why not

function openWhy() {
  $("why").reset();
  $("why").hidden = false;
  $("why").querySelector("input").focus();
}

function closeWhy() {
  $("why").hidden = true;
}

$("why").addEventListener("submit", (event) => {
  event.preventDefault();
  const reasons = [...$("why").querySelectorAll("input:checked")].map((box) => box.value);
  if (reasons.length === 0 && !$("note").value.trim()) {
    say("js_bad");
    return;
  }
  decide("no", reasons);
});
$("why-cancel").addEventListener("click", () => {
  closeWhy();
  $("subject").focus();
});

// ---- the image

async function reveal(sharp) {
  if (current() === null || root.dataset.sharp === "1" || picture.sharp === sharp) return;
  $("reveal").setAttribute("aria-pressed", sharp);
  try {
    await picture.reveal(sharp);
    if (sharp && picture.sharp) say("js_sharp");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await refused(error.word);
  }
}

function turnGrey() {
  $("grey").setAttribute("aria-pressed", !picture.grey);
  picture.turnGrey(!picture.grey);
}

$("reveal").addEventListener("click", () => reveal(!picture.sharp));
$("grey").addEventListener("click", turnGrey);
for (const button of $("answers").children) button.addEventListener("click", () => decide(button.dataset.answer));
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("help").addEventListener("click", () => $("keys").showModal());
$("note").addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("subject").focus();
});

// ---- keys

function writeNote() {
  document.querySelector(".note").open = true;
  $("note").focus();
}

const KEYS = {
  y: () => decide("yes"),
  n: () => decide("no"),
  u: () => decide("unsure"),
  s: skip,
  z: undo,
  g: turnGrey,
  c: writeNote,
  "?": () => $("keys").showModal(),
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("keys").open) return;
  const target = event.target;
  if (target.closest("textarea, select, .display, input:not([type=checkbox])")) return;
  if (!$("why").hidden) {
    whyKey(event);
    return;
  }
  if (event.key === " ") {
    if (target.closest("button, a, summary, input")) return; // there it presses
    event.preventDefault();
    if (!event.repeat) reveal(true);
    return;
  }
  if (target === $("caption") && event.key.startsWith("Arrow")) return; // there they scroll
  const work = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (work === undefined || event.repeat) return;
  event.preventDefault();
  work();
});
document.addEventListener("keyup", (event) => {
  if (event.key === " " && !event.target.closest("button, a, summary, input, textarea")) reveal(false);
});
window.addEventListener("blur", () => reveal(false));

function whyKey(event) {
  if (event.key === "Escape") {
    closeWhy();
    $("subject").focus();
  } else if (event.key === "Enter" && !event.target.closest("button")) {
    event.preventDefault();
    $("why").requestSubmit();
  } else if (/^[1-9]$/.test(event.key)) {
    const box = $("why").querySelectorAll("input")[Number(event.key) - 1];
    if (box) {
      box.checked = !box.checked;
      box.focus();
    }
  } else if (event.key === "c") {
    event.preventDefault();
    writeNote();
  }
}

say("js_loading");
act(async () => {
  await toOpen();
  say("");
});
