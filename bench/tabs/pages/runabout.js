// The tab that works for a node: `?node=URL&slots=N`.

import { connect } from "/sdk/index.js";

const query = new URLSearchParams(location.search);
const slots = Number(query.get("slots"));
const worker = connect(query.get("node"), { pool: { slots } }).work({ slots });
const stop = worker.on("change", look);
look();

function look() {
  if (worker.state !== "working") return;
  stop();
  fetch("/ready");
}
