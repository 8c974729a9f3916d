// The page of the demo target. Every address is relative to <base>, which the server sets: the page may stand below a prefix.

/**
 * The element with this id, of this class.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} "${id}"`);
  return found;
}

/**
 * @param {HTMLElement} badge
 * @param {"open" | "closed"} state
 * @param {string} text
 */
function show(badge, state, text) {
  badge.dataset["state"] = state;
  badge.textContent = text;
}

const READINGS = 60;
/** @type {number[]} */
const readings = [];
const liveState = element("live-state", HTMLElement);
const events = new EventSource("sse?count=0");
events.addEventListener("open", () => show(liveState, "open", "live"));
events.addEventListener("error", () => show(liveState, "closed", "reconnecting"));
events.addEventListener("tick", (event) => {
  const { index, celsius } = JSON.parse(event.data);
  readings.push(celsius);
  if (readings.length > READINGS) readings.shift();
  element("value", HTMLElement).textContent = celsius.toFixed(1);
  element("count", HTMLElement).textContent = String(index);
  const points = readings.map((value, i) => {
    const x = (i * 300) / (READINGS - 1);
    const y = 78 - ((value - 60) / 20) * 76;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  element("line", SVGElement).setAttribute("points", points.join(" "));
});

const echoState = element("echo-state", HTMLElement);
const echoSend = element("echo-send", HTMLButtonElement);
const echoText = element("echo-text", HTMLInputElement);
const echoLog = element("echo-log", HTMLOListElement);
const ECHOES = 50;
/** @type {WebSocket} */
let socket;

/** @param {number} pauseMs before the next attempt; doubles up to 8 s while nothing answers */
function connect(pauseMs) {
  let nextPauseMs = Math.min(pauseMs * 2, 8000);
  socket = new WebSocket(new URL("ws", document.baseURI.replace(/^http/, "ws")));
  socket.addEventListener("open", () => {
    nextPauseMs = 500;
    show(echoState, "open", "open");
    echoSend.disabled = false;
  });
  socket.addEventListener("message", (event) => {
    const item = document.createElement("li");
    item.textContent = event.data;
    echoLog.append(item);
    while (echoLog.children.length > ECHOES) echoLog.firstChild?.remove();
    item.scrollIntoView({ block: "nearest" });
  });
  socket.addEventListener("close", (event) => {
    show(echoState, "closed", `closed (${event.code})`);
    echoSend.disabled = true;
    setTimeout(connect, pauseMs, nextPauseMs);
  });
}
connect(500);

element("echo-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(echoText.value);
  echoText.select();
});

const uploadResult = element("upload-result", HTMLElement);

/** @param {File} file */
async function upload(file) {
  uploadResult.textContent = "Uploading …";
  try {
    const response = await fetch("upload", { method: "POST", body: file });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { bytes, sha256 } = await response.json();
    uploadResult.textContent = `${bytes.toLocaleString()} bytes, SHA-256 ${sha256}`;
  } catch (error) {
    uploadResult.textContent = `The upload failed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

element("upload-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const file = element("upload-file", HTMLInputElement).files?.[0];
  if (file !== undefined) void upload(file);
});
