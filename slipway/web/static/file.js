// Sends the file with progress and keeps the page; without this script the browser sends it.
"use strict";

const form = document.getElementById("upload");
const show = (id, shown) => { document.getElementById(id).hidden = !shown; };
const write = (id, text) => { document.getElementById(id).textContent = text; };
const bar = document.getElementById("bar");
const download = document.getElementById("download");
const submit = form.querySelector("button");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  show("problem", false);
  show("result", false);
  if (file.size > Number(form.dataset.maxBytes)) {
    fail({ message: `The file is over the limit of ${form.dataset.maxText}.` });
  } else {
    send(file);
  }
});

function send(file) {
  // fetch() cannot tell how much of a body has been sent.
  const request = new XMLHttpRequest();
  // The counts come as a last line, which shows too that the answer is whole.
  request.open("POST", `${form.action}?counts=true`);
  request.responseType = "blob";
  request.setRequestHeader("Accept", "text/csv, application/json");
  request.upload.addEventListener("progress", (sent) => {
    bar.value = sent.loaded / sent.total;
    write("amount", `${Math.floor(100 * bar.value)}% sent`);
  });
  request.upload.addEventListener("load", () => phase("The file is sent; the answer is being made."));
  request.addEventListener("progress", (received) => {
    bar.removeAttribute("value");
    write("amount", `${megabytes(received.loaded)} received`);
  });
  request.addEventListener("load", () => finish(request, file.name));
  request.addEventListener("error", () => {
    fail({ message: "The connection broke. The service may be away, or the file over its limit." });
  });
  request.addEventListener("abort", () => { working(false); phase("Cancelled."); });
  document.getElementById("cancel").onclick = () => request.abort();
  bar.value = 0;
  write("amount", "");
  working(true);
  phase("Sending the file.");
  const body = new FormData();
  body.append("file", file);
  request.send(body);
}

async function finish(request, name) {
  const answer = request.response;
  if (request.status !== 200) {
    fail(await readError(answer, request.status));
    return;
  }
  const [counts, countsStart] = await readCounts(answer);
  if (!counts) {
    fail({ message: "The answer was cut off on the way. Send the file again." });
    return;
  }
  working(false);
  phase("");
  for (const place of document.querySelectorAll("[data-count]")) {
    place.textContent = counts[place.dataset.count];
  }
  write("advice", advise(counts));
  URL.revokeObjectURL(download.href);
  download.href = URL.createObjectURL(answer.slice(0, countsStart, answer.type));
  download.download = `${name.replace(/\.gz$/i, "").replace(/\.csv$/i, "")}-predictions.csv`;
  show("result", true);
  document.getElementById("result-title").focus();
}

// The last line of the answer, and the byte at which it begins; a file without it was cut off.
async function readCounts(answer) {
  const from = Math.max(0, answer.size - 1000);
  const end = await answer.slice(from).text();
  const found = end.match(/# rows=(?<rows>\d+) failed=(?<failed>\d+) warned=(?<warned>\d+) model=(?<model>\S+)\s*$/);
  if (!found) return [null, 0];
  const { rows, failed, warned, model } = found.groups;
  const grouped = (count) => Number(count).toLocaleString("en");
  const counts = { rows: grouped(rows), failed: grouped(failed), warned: grouped(warned), model };
  // The line is ASCII, so that its characters are its bytes.
  return [counts, answer.size - found[0].length];
}

function advise({ failed, warned }) {
  const parts = [];
  if (failed !== "0") parts.push("The column “error” says why a row was refused.");
  if (warned !== "0") parts.push("The column “warning” says what is unusual about a row.");
  return parts.join(" ");
}

async function readError(answer, status) {
  try {
    return JSON.parse(await answer.text());
  } catch {
    return { message: `The service answered with status ${status}.` };
  }
}

function fail({ message, errors = [], request_id: id }) {
  working(false);
  phase("");
  write("message", `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, "")}.`);
  const items = errors.filter((error) => error.message !== message).map((error) => {
    const item = document.createElement("li");
    item.textContent = error.field ? `${error.field}: ${error.message}` : error.message;
    return item;
  });
  document.getElementById("errors").replaceChildren(...items);
  write("request", id ? `Request ${id}` : "");
  show("problem", true);
}

function working(yes) {
  show("progress", yes);
  submit.disabled = yes;
}

function phase(text) {
  write("phase", text);
}

function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
