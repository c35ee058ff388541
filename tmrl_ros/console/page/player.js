// Plays a recorded episode, and takes another label for it.
"use strict";

const Player = (() => {
  const {at, token} = Console;
  let episode = null, record = null, time = 0, timer = null, plot = null;

  async function open(chosen) {
    close();
    episode = chosen;
    at("player-title").textContent = `${chosen.id}: ${chosen.outcome}${chosen.reason ? ` (${chosen.reason})` : ""}`;
    at("player-words").textContent = "Reading the recording …";
    at("player-frames").replaceChildren();
    at("trim-words").textContent = "up to here";
    at("player").show();
    const reply = await fetch(`api/episodes/${encodeURIComponent(folder(chosen))}`,
      {headers: {"Authorization": `Bearer ${token}`}});
    const found = await reply.json();
    if (episode !== chosen) return;
    at("player-words").textContent = found.message || "";
    at("trim").hidden = chosen.phase !== "train" || chosen.outcome === "aborted";
    if (found.frames) show(found);
  }

  // Decisions that had begun by the time shown.
  const kept = () => record ? record.chunks.filter((chunk) => chunk.t <= time + 1e-6).length : 0;

  // A repeated attempt's bag was moved aside under the attempt's number.
  const folder = (chosen) => chosen.outcome === "aborted" ? `${chosen.id}.aborted-${chosen.attempt + 1}` : chosen.id;

  function show(found) {
    record = found;
    time = 0;
    for (const name of Object.keys(found.frames)) {
      const figure = document.createElement("figure");
      const picture = document.createElement("img"), words = document.createElement("figcaption");
      picture.alt = words.textContent = name;
      figure.append(picture, words);
      at("player-frames").append(figure);
    }
    at("player-time").max = found.duration_s;
    draw();
    seek(0);
    play(true);
  }

  function draw() {
    const marks = record.rewards.map((item) => [item.t, item.progress, item.success_probability, null])
      .concat(record.chunks.map((item) => [item.t, null, null, item.t_context]))
      .sort((a, b) => a[0] - b[0]);
    const columns = [0, 1, 2, 3].map((i) => marks.map((mark) => mark[i]));
    const line = (label, stroke) => ({label, stroke, width: 2, spanGaps: true, points: {show: true, size: 5}});
    const ink = "#c6d0da", grid = {stroke: "#33404f"};
    plot = new uPlot({
      width: at("player-plot").clientWidth, height: 170, legend: {live: false}, cursor: {show: false},
      scales: {x: {time: false}, y: {range: [0, 1]}},
      axes: [{stroke: ink, grid}, {stroke: ink, grid, size: 40}],
      series: [{label: "s"}, line("progress", "#4cd07d"), line("success probability", "#62b6ff"), line("t context", "#f0a040")],
    }, columns, at("player-plot"));
  }

  function newest(items) {
    let found = null;
    for (const item of items) if (item.t <= time + 1e-6 || !found) found = item;
    return found;
  }

  function seek(to) {
    time = Math.max(0, Math.min(to, record.duration_s));
    at("player-time").value = time;
    at("player-clock").textContent = `${time.toFixed(1)} / ${record.duration_s.toFixed(1)} s`;
    Object.values(record.frames).forEach((frames, i) => {
      const frame = newest(frames);
      if (frame) at("player-frames").children[i].firstChild.src = `data:image/jpeg;base64,${frame.jpeg}`;
    });
    at("trim-words").textContent = `up to here (${kept()} of ${record.chunks.length} decisions)`;
    const reward = newest(record.rewards);
    at("player-progress").style.width = `${100 * (reward ? reward.progress : 0)}%`;
    at("player-progress-n").textContent = reward ? `${Math.round(100 * reward.progress)} %` : "–";
  }

  function play(on) {
    clearInterval(timer);
    timer = null;
    at("player-play").textContent = on ? "pause" : "play";
    if (!on) return;
    if (time >= record.duration_s) seek(0);
    timer = setInterval(() => {
      seek(time + 0.1);
      if (time >= record.duration_s) play(false);
    }, 100);
  }

  function close() {
    clearInterval(timer);
    timer = null;
    if (plot) plot.destroy();
    plot = record = episode = null;
    at("player").close();
  }

  at("player-close").addEventListener("click", close);
  at("player-play").addEventListener("click", () => { if (record) play(timer === null); });
  at("player-time").addEventListener("input", (event) => { if (record) { play(false); seek(Number(event.target.value)); } });
  for (const button of document.querySelectorAll("#relabel button")) {
    button.addEventListener("click", async () => {
      if (!episode) return;
      const chosen = episode;
      const taken = await Console.press("label", {outcome: button.dataset.outcome, episode: chosen.id});
      if (taken && episode === chosen) at("player-title").textContent = `${chosen.id}: ${button.dataset.outcome}, operator`;
    });
  }
  for (const button of document.querySelectorAll("#trim button")) {
    button.addEventListener("click", () => {
      if (!record) return;
      const decisions = button.id === "untrim" ? null : kept();
      Console.press("trim", {episode: episode.id, decisions, outcome: button.dataset.outcome || ""});
    });
  }
  return {open};
})();
