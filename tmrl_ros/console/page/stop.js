// The stop button and the connection behind it. Loaded first and needs no other script, so that an
// error in the rest of the page leaves it working.
"use strict";

const Console = (() => {
  const SILENT_MS = 1500;     // no state for so long: the connection counts as lost
  const PULSE_MS = 300;
  const CONFIRM_MS = 800;     // a stop that is not answered by then is sent again, with a warning
  const RECONNECT_MS = 500;
  const token = new URLSearchParams(location.search).get("token") || "";
  const at = (id) => document.getElementById(id);
  const listeners = [];
  let socket = null, heard = -Infinity, roundTrip = null, pressed = 0, lastPress = -Infinity;

  async function post(command, words = {}, timeout = 4000) {
    try {
      const reply = await fetch(`api/${command}`, {
        method: "POST",
        headers: {"Authorization": `Bearer ${token}`, "Content-Type": "application/json"},
        body: JSON.stringify(words),
        priority: "high",
        signal: AbortSignal.timeout(timeout),
      });
      return await reply.json();
    } catch (error) {
      return {success: false, message: "The console's server does not answer."};
    }
  }

  async function stop() {
    const mine = ++pressed;
    lastPress = performance.now();
    say("warn", "stopping …");
    for (let attempt = 0; attempt < 20 && mine === pressed; attempt += 1) {
      const sent = performance.now();
      const answer = await post("stop", {}, CONFIRM_MS);
      if (mine !== pressed) return;
      if (answer.success) {
        say("", "");
        tell(`${answer.message} (${Math.round(performance.now() - sent)} ms)`);
        return;
      }
      say("bad", "STOP NOT CONFIRMED: press the hardware button");
      await new Promise((resume) => setTimeout(resume, 200));
    }
  }

  function say(kind, text) {
    document.body.dataset.stop = kind;
    at("stop").querySelector("small").textContent = text || "click, or press the space bar";
  }

  function tell(text, good = true) {
    at("answer").textContent = text;
    at("answer").className = good ? "" : "bad";
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/api/state?token=${encodeURIComponent(token)}`);
    socket.onmessage = ({data}) => {
      const message = JSON.parse(data);
      if (message.pulse) roundTrip = performance.now() - Number(message.pulse);
      if (message.state) {
        heard = performance.now();
        for (const listen of listeners) listen(message.state);
      }
    };
    socket.onclose = () => {
      heard = -Infinity;        // said at once, and until a state comes over another connection
      pulse();
      setTimeout(connect, RECONNECT_MS);
    };
  }

  function pulse() {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(String(performance.now()));
    const silent = performance.now() - heard;
    const lost = silent > SILENT_MS;
    document.body.classList.toggle("lost", lost);
    at("link").className = lost ? "lost" : "good";
    at("link").textContent = lost
      ? "CONNECTION LOST: use the hardware button"
      : `stop button connected${roundTrip === null ? "" : `, ${Math.max(1, Math.round(roundTrip))} ms`}`;
  }

  const isSpace = (event) => event.code === "Space";
  addEventListener("keydown", (event) => {
    if (!isSpace(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!event.repeat) stop();
  }, true);
  addEventListener("keyup", (event) => { if (isSpace(event)) event.preventDefault(); }, true);
  at("stop").addEventListener("pointerdown", stop);
  at("stop").addEventListener("click", () => { if (performance.now() - lastPress > 1000) stop(); });
  setInterval(pulse, PULSE_MS);
  connect();
  return {token, at, post, tell, onState: (listen) => listeners.push(listen)};
})();
