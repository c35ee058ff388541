// Everything of the page but the stop button and the player.
"use strict";

(() => {
  const {at, post, tell, token, onState} = Console;
  const SIGNS = {latched: "LATCHED", ready: "READY", running: "MOVING", silent: "NO SUPERVISOR"};
  const WORDS = {
    ready: "The arm may move as soon as an episode goes on.",
    running: "The arm is executing a chunk.",
  };
  const USES = ["motion", "reset", "waiting", "learning"];
  const pages = {};
  let logVersion = -1, labelTarget = "", chart = null;

  const percent = (value) => `${Math.round(100 * value)} %`;
  const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };
  const NAMES = {evaluate_before: "before", evaluate_after: "after"};
  const short = (id) => {
    const [, phase, number] = id.match(/^(.*)_0*(\d+)$/) || [null, id, ""];
    return `${NAMES[phase] || phase} ${number}`.trim();
  };
  const last = (values) => values.length ? values[values.length - 1] : null;
  const make = (tag, text = "", name = "") => {
    const item = document.createElement(tag);
    item.textContent = text;
    item.className = name;
    return item;
  };

  // state

  onState((state) => {
    showSign(state.safety);
    showEpisode(state);
    gauge("progress", last(state.progress));
    gauge("probability", last(state.success_probability));
    showTimesteps(state.t_context);
    showMinutes("robot", state.robot_minutes);
    showMinutes("wall", state.wall_minutes);
    showClips(state.clipped);
    showCritics(state.run.critic || {});
    set("notice", [state.run.fallback, state.run.steering].filter(Boolean).join(" "));
    showNodes(state);
    makeCameras(state.cameras);
    if (state.log_version !== logVersion) loadLog(state.log_version);
  });

  function showSign(safety) {
    at("sign").className = safety.state;
    set("sign-state", SIGNS[safety.state] || safety.state);
    set("sign-words", safety.message || WORDS[safety.state] || "");
    set("sign-code", [safety.code, safety.value].filter(Boolean).join(" · "));
    at("reset").disabled = safety.state !== "latched";
  }

  function showEpisode(state) {
    const {episode, run} = state;
    set("prompt", state.prompt);
    offerPrompts(state.prompts);
    set("session", `${state.session} · ${state.task}`);
    const total = run.episodes_total ? ` (${run.episode} of ${run.episodes_total})` : "";
    const outcome = episode.outcome && episode.outcome !== "none" ? `: ${episode.outcome}` : "";
    set("episode", episode.id ? `${short(episode.id)}${total}` : "none yet");
    set("episode-state", episode.id ? `${episode.state}${outcome}` : "");
    const held = state.paused ? "No further episode begins after this one, until you press START." : "";
    const words = state.manager || held || run.message || "";
    set("waiting", words);
    at("pause").disabled = state.paused;
    at("start").classList.toggle("wanted", state.paused);
    labelTarget = state.label_target;
    set("label-target", labelTarget ? `SUCCESS and FAILURE label episode ${short(labelTarget)}` : "no episode to label yet");
    at("success").disabled = at("failure").disabled = !labelTarget;
  }

  // A list and no field to type in: the space bar stops, wherever the focus is.
  function offerPrompts(prompts) {
    const list = at("prompts");
    if (list.children.length === prompts.length + 1) return;
    list.replaceChildren(new Option("change …", ""), ...prompts.map((text) => new Option(text, text)));
    list.hidden = prompts.length < 2;
  }

  function gauge(id, value) {
    at(id).style.width = `${100 * Math.min(1, Math.max(0, value || 0))}%`;
    set(`${id}-n`, value === null ? "–" : percent(value));
  }

  function showTimesteps(values) {
    const shown = values.slice(-40);
    const box = at("timesteps");
    while (box.children.length > shown.length) box.lastChild.remove();
    while (box.children.length < shown.length) box.append(make("i"));
    shown.forEach((t, i) => {
      box.children[i].style.height = `${4 + 96 * t}%`;
      box.children[i].style.background = `hsl(${210 - 180 * t} 85% 60%)`;
    });
    set("t-now", shown.length ? last(shown).toFixed(2) : "");
  }

  function showMinutes(name, minutes) {
    const total = USES.reduce((sum, use) => sum + (minutes[use] || 0), 0);
    const bar = at(`${name}-bar`);
    if (!bar.children.length) for (const use of USES) bar.append(make("i", "", use));
    USES.forEach((use, i) => {
      const share = total ? (minutes[use] || 0) / total : 0;
      bar.children[i].style.width = `${100 * share}%`;
      bar.children[i].title = `${use} ${(minutes[use] || 0).toFixed(1)} min`;
    });
    set(`${name}-n`, total.toFixed(1));
  }

  function showClips(clipped) {
    const rate = (some, all) => all ? `${(100 * some / all).toFixed(1)} %` : "–";
    set("clip", rate(clipped.total, clipped.total_of));
    set("clip-words", `slowed down or pulled in by the supervisor; this episode ${rate(clipped.episode, clipped.of)}`);
  }

  function showCritics({expected, seen, disagreement}) {
    const known = Number.isFinite(expected) && Number.isFinite(seen);
    const differ = Number.isFinite(disagreement) ? `; they differ by ${disagreement.toFixed(2)}` : "";
    set("critics", known ? `${expected.toFixed(2)} / ${seen.toFixed(2)}` : "–");
    set("critic-words", known ? `expected of a decision / what came of it, last 20 episodes${differ}`
      : "nothing learned yet");
  }

  function showNodes(state) {
    const list = at("nodes");
    if (list.children.length !== state.nodes.length) {
      list.replaceChildren(...state.nodes.map((node) => make("li", node.name)));
    }
    state.nodes.forEach((node, i) => { list.children[i].className = node.ok ? "ok" : "missing"; });
    const missing = state.nodes.filter((node) => !node.ok).length;
    set("nodes-n", missing ? `${missing} missing` : `${state.nodes.length} of ${state.nodes.length}`);
    const learner = state.learner;
    set("learner", learner.phase ? `learner ${learner.phase}: ${learner.transitions} rows, `
      + `${Math.round(learner.updates_per_second)} updates/s, ${learner.updates_owed} owed` : "");
    const recorder = state.recorder, lost = (recorder.lost || 0) + (recorder.dropped || 0);
    set("recorder", recorder.ok === false ? `recorder: ${recorder.message}`
      : lost ? `${lost} messages did not reach the bags` : "");
  }

  // curve and list

  async function loadLog(version) {
    logVersion = version;
    try {
      const reply = await fetch("api/log", {headers: {"Authorization": `Bearer ${token}`}});
      const log = await reply.json();
      drawCurve(log.curve);
      listEpisodes(log.episodes);
    } catch (error) {
      logVersion = -1;
    }
  }

  function drawCurve(curve) {
    const now = curve.rate.length - 1;
    const span = (rate) => `${percent(rate.rate)} (${percent(rate.low)} to ${percent(rate.high)})`;
    set("curve-title", `success over ${curve.window} episodes, ${NAMES[curve.phase] || curve.phase}`);
    set("curve-now", now < 0 ? "no episode yet"
      : `${percent(curve.rate[now])}  (${percent(curve.low[now])} to ${percent(curve.high[now])})`);
    const line = (rate) => curve.episode.map(() => rate ? rate.rate : null);
    const data = [curve.episode, curve.high, curve.low, curve.rate, line(curve.before), line(curve.after)];
    if (!chart) chart = newChart();
    chart.setData(data);
    set("curve-before", curve.before ? `before training ${span(curve.before)}` : "");
    set("curve-after", curve.after ? `after training ${span(curve.after)}` : "");
  }

  function newChart() {
    const grid = {stroke: "#33404f", width: 1}, ink = "#c6d0da";
    const font = "14px system-ui, sans-serif";
    const none = {points: {show: false}};
    const options = {
      ...size(),
      cursor: {show: false},
      scales: {x: {time: false, range: (_, low, high) => [0, Math.max(20, high || 0)]}, y: {range: [0, 1]}},
      axes: [
        {stroke: ink, grid, ticks: grid, font, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500]},
        {stroke: ink, grid, ticks: grid, font, size: 62, values: (_, ticks) => ticks.map(percent)},
      ],
      legend: {show: false},
      series: [
        {label: "episode"},
        {label: "high", stroke: "transparent", ...none},
        {label: "low", stroke: "transparent", ...none},
        {label: "success rate", stroke: "#4cd07d", width: 4, points: {show: (u) => u.data[0].length < 10, size: 10}},
        {label: "before", stroke: "#8fa3b8", dash: [8, 6], width: 2, ...none},
        {label: "after", stroke: "#62b6ff", dash: [8, 6], width: 2, ...none},
      ],
      bands: [{series: [1, 2], fill: "rgba(76, 208, 125, 0.22)"}],
    };
    const made = new uPlot(options, [[], [], [], [], [], []], at("curve"));
    new ResizeObserver(() => made.setSize(size())).observe(at("curve"));
    return made;
  }

  function size() {
    const box = at("curve").getBoundingClientRect();
    return {width: Math.max(200, Math.floor(box.width)), height: Math.max(120, Math.floor(box.height))};
  }

  function listEpisodes(episodes) {
    set("episodes-n", String(episodes.length));
    at("episodes").replaceChildren(...episodes.slice(0, 300).map((episode) => {
      const row = make("button", "", `row ${episode.outcome}`);
      row.type = "button";
      row.dataset.episode = episode.id;
      const by = episode.labelled_by && episode.labelled_by !== "reward" ? ` (${episode.labelled_by})` : "";
      const helped = episode.human ? `, ${episode.human} steps by a person` : "";
      const cut = episode.trimmed_to ? `, cut at ${episode.trimmed_to}` : "";
      row.append(make("span", short(episode.id)), make("b", episode.outcome + by + helped + cut),
        make("span", `${episode.robot_seconds.toFixed(0)} s`, "quiet"));
      row.addEventListener("click", () => Player.open(episode));
      return row;
    }));
  }

  // cameras

  function makeCameras(names) {
    for (const name of names) {
      if (pages[name]) continue;
      const figure = make("figure");
      const picture = make("img");
      picture.alt = `camera ${name}`;
      figure.append(picture, make("figcaption", name));
      at("cameras").append(figure);
      pages[name] = picture;
    }
  }

  function watchCameras() {
    const socket = new WebSocket(`ws://${location.host}/api/pictures?token=${encodeURIComponent(token)}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({data}) => {
      const length = new Uint8Array(data)[0];
      const picture = pages[new TextDecoder().decode(data.slice(1, 1 + length))];
      if (!picture) return;
      const old = picture.src;
      picture.src = URL.createObjectURL(new Blob([data.slice(1 + length)], {type: "image/jpeg"}));
      if (old) URL.revokeObjectURL(old);
    };
    socket.onclose = () => setTimeout(watchCameras, 1000);
  }

  // buttons

  async function press(command, words) {
    tell("…");
    const answer = await post(command, words);
    tell(answer.message, answer.success);
    return answer.success;
  }

  for (const command of ["reset", "start", "pause"]) {
    at(command).addEventListener("click", () => press(command));
  }
  at("prompts").addEventListener("change", (event) => {
    const text = event.target.value;
    event.target.value = "";
    if (text) press("prompt", {text});
  });
  for (const outcome of ["success", "failure"]) {
    at(outcome).addEventListener("click", () => press("label", {outcome, episode: labelTarget}));
  }
  Console.press = press;
  watchCameras();
})();
