// The hold-to-run button, shown where safety.hold_to_run is configured. While it is held, a word goes
// out every PERIOD_MS over a socket of its own; without words the supervisor holds the arm.
"use strict";

(() => {
  const {at, token, tell, onState} = Console;
  const PERIOD_MS = 80;
  const RECONNECT_MS = 500;
  const KEY = "KeyH";
  let socket = null, timer = null, wanted = false;

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/api/hold?token=${encodeURIComponent(token)}`);
    socket.onclose = () => {
      if (timer !== null) tell("The connection was lost: the arm holds. Press again.", false);
      release();
      setTimeout(connect, RECONNECT_MS);
    };
  }

  function send(held) {
    if (socket.readyState === WebSocket.OPEN) socket.send(`${held ? 1 : 0} ${performance.now()}`);
  }

  function press() {
    if (timer !== null || !wanted) return;
    if (socket.readyState !== WebSocket.OPEN) {
      tell("Not connected: nothing moves.", false);
      return;
    }
    timer = setInterval(() => send(true), PERIOD_MS);
    send(true);
    at("hold").classList.add("held");
  }

  function release() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    send(false);
    at("hold").classList.remove("held");
  }

  const button = at("hold");
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    press();
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(end, release);
  }
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    if (event.code !== KEY || !wanted) return;
    event.preventDefault();     // a list with the focus would jump to what begins with H
    if (!event.repeat) press();
  });
  addEventListener("keyup", (event) => { if (event.code === KEY) release(); });
  addEventListener("blur", release);
  addEventListener("pagehide", release);
  document.addEventListener("visibilitychange", () => { if (document.hidden) release(); });

  onState((state) => {
    if (state.hold_to_run && !wanted) {
      wanted = true;
      button.hidden = false;
      connect();
    }
  });
})();
