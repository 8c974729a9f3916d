// The page of the demo target. Absolute paths on purpose: they work because each target has a host of its own.
const $ = (id) => document.getElementById(id);

function show(badge, state, text) {
  badge.dataset.state = state;
  badge.textContent = text;
}

const READINGS = 60;
const readings = [];
const events = new EventSource("/sse?count=0");
events.addEventListener("open", () => show($("live-state"), "open", "live"));
events.addEventListener("error", () => show($("live-state"), "closed", "reconnecting"));
events.addEventListener("tick", (event) => {
  const { index, celsius } = JSON.parse(event.data);
  readings.push(celsius);
  if (readings.length > READINGS) readings.shift();
  $("value").textContent = celsius.toFixed(1);
  $("count").textContent = String(index);
  const x = (i) => (i * 300) / (READINGS - 1);
  const y = (value) => 78 - ((value - 60) / 20) * 76;
  $("line").setAttribute("points", readings.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
});

let socket;
function connect(pauseMs) {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.addEventListener("open", () => {
    pauseMs = 500;
    show($("echo-state"), "open", "open");
    $("echo-send").disabled = false;
  });
  socket.addEventListener("message", (event) => {
    const item = document.createElement("li");
    item.textContent = event.data;
    $("echo-log").append(item);
    while ($("echo-log").children.length > 50) $("echo-log").firstChild.remove();
    item.scrollIntoView({ block: "nearest" });
  });
  socket.addEventListener("close", (event) => {
    show($("echo-state"), "closed", `closed (${event.code})`);
    $("echo-send").disabled = true;
    setTimeout(connect, pauseMs, Math.min(pauseMs * 2, 8000));
  });
}
connect(500);

$("echo-form").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send($("echo-text").value);
  $("echo-text").select();
});

async function upload(file) {
  $("upload-result").textContent = "Uploading …";
  try {
    const response = await fetch("/upload", { method: "POST", body: file });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { bytes, sha256 } = await response.json();
    $("upload-result").textContent = `${bytes.toLocaleString()} bytes, SHA-256 ${sha256}`;
  } catch (error) {
    $("upload-result").textContent = `The upload failed: ${error.message}`;
  }
}

$("upload-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void upload($("upload-file").files[0]);
});
