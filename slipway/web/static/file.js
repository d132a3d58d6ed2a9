// Sends the file and shows the progress; without this script the browser submits the form.
"use strict";

const form = document.getElementById("upload");
const show = (id, isVisible) => { document.getElementById(id).hidden = !isVisible; };
const writeText = (id, text) => { document.getElementById(id).textContent = text; };
const bar = document.getElementById("bar");
const download = document.getElementById("download");
const submit = form.querySelector("button");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  show("problem", false);
  show("result", false);
  if (file.size > Number(form.dataset.maxBytes)) {
    showError({ message: `The file is over the limit of ${form.dataset.maxText}.` });
  } else {
    send(file);
  }
});

function send(file) {
  // fetch() does not report the upload progress.
  const request = new XMLHttpRequest();
  // The last line of the response has the counts, and shows that the response is complete.
  request.open("POST", `${form.action}?counts=true`);
  request.responseType = "blob";
  request.setRequestHeader("Accept", "text/csv, application/json");
  request.upload.addEventListener("progress", (sent) => {
    bar.value = sent.loaded / sent.total;
    writeText("amount", `${Math.floor(100 * bar.value)}% sent`);
  });
  request.upload.addEventListener("load", () => showPhase("The file is uploaded. The service computes the predictions."));
  request.addEventListener("progress", (received) => {
    bar.removeAttribute("value");
    writeText("amount", `${formatMegabytes(received.loaded)} received`);
  });
  request.addEventListener("load", () => finish(request, file.name));
  request.addEventListener("error", () => {
    showError({ message: "The connection was lost. The service may be down, or the file may be too large." });
  });
  request.addEventListener("abort", () => { setWorking(false); showPhase("Cancelled."); });
  document.getElementById("cancel").onclick = () => request.abort();
  bar.value = 0;
  writeText("amount", "");
  setWorking(true);
  showPhase("Sending the file.");
  const body = new FormData();
  body.append("file", file);
  request.send(body);
}

async function finish(request, name) {
  const response = request.response;
  if (request.status !== 200) {
    showError(await readError(response, request.status));
    return;
  }
  const [counts, countsStart] = await readCounts(response);
  if (!counts) {
    showError({ message: "The response is incomplete. Send the file again." });
    return;
  }
  setWorking(false);
  showPhase("");
  for (const element of document.querySelectorAll("[data-count]")) {
    element.textContent = counts[element.dataset.count];
  }
  writeText("advice", formatAdvice(counts));
  URL.revokeObjectURL(download.href);
  download.href = URL.createObjectURL(response.slice(0, countsStart, response.type));
  download.download = `${name.replace(/\.gz$/i, "").replace(/\.csv$/i, "")}-predictions.csv`;
  show("result", true);
  document.getElementById("result-title").focus();
}

// Returns the counts of the last line and its first byte; [null, 0] for an incomplete response.
async function readCounts(response) {
  const from = Math.max(0, response.size - 1000);
  const end = await response.slice(from).text();
  const match = end.match(/# rows=(?<rows>\d+) failed=(?<failed>\d+) warned=(?<warned>\d+) model=(?<model>\S+)\s*$/);
  if (!match) return [null, 0];
  const { rows, failed, warned, model } = match.groups;
  const format = (count) => Number(count).toLocaleString("en");
  const counts = { rows: format(rows), failed: format(failed), warned: format(warned), model };
  // The line is ASCII, so one character is one byte.
  return [counts, response.size - match[0].length];
}

function formatAdvice({ failed, warned }) {
  const parts = [];
  if (failed !== "0") parts.push("The column “error” has the reason for each rejected row.");
  if (warned !== "0") parts.push("The column “warning” names the unusual values of a row.");
  return parts.join(" ");
}

async function readError(response, status) {
  try {
    return JSON.parse(await response.text());
  } catch {
    return { message: `The service returned status ${status}.` };
  }
}

function showError({ message, errors = [], request_id: id }) {
  setWorking(false);
  showPhase("");
  writeText("message", `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, "")}.`);
  const items = errors.filter((error) => error.message !== message).map((error) => {
    const item = document.createElement("li");
    item.textContent = error.field ? `${error.field}: ${error.message}` : error.message;
    return item;
  });
  document.getElementById("errors").replaceChildren(...items);
  writeText("request", id ? `Request ${id}` : "");
  show("problem", true);
}

function setWorking(isWorking) {
  show("progress", isWorking);
  submit.disabled = isWorking;
}

function showPhase(text) {
  writeText("phase", text);
}

function formatMegabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
