// The page works without this: here its forms answer in place, and pictures can be dropped, pasted and sent by the
// dozen. What is shown comes from the server's own pages; text of files and people is only ever set as text.

const TYPES = new Set(["image/png", "image/jpeg", "image/webp"]);
const MOST_BYTES = 5 * 1024 * 1024;
const SMALLER_SIDE = 2048;
const AT_ONCE = 2;

const find = (selector, place = document) => place.querySelector(selector);
const form = find("#upload");
const results = find("#results");
const dialog = find("#sign-in");
const token = () => find("meta[name=csrf-token]").content;
const say = (words) => { find("#status").textContent = words; };

document.documentElement.classList.add("js");

/* Ask the server for a page. XMLHttpRequest tells how far an upload is, and parses without running anything. */
function ask(method, url, body, { progress = () => {}, abort = null } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    if (method !== "GET") request.setRequestHeader("X-CSRF-Token", token());
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    request.onload = () => resolve({ status: request.status, page: request.response });
    request.onerror = () => reject(new Error("The server cannot be reached. Is there a connection?"));
    request.onabort = () => reject(new DOMException("Cancelled.", "AbortError"));
    abort?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/* Signing in without leaving the page, or what was dropped on it. */
function adopt(page) {
  const csrf = find("meta[name=csrf-token]", page).content;
  find("meta[name=csrf-token]").content = csrf;
  for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
  find("header.top").replaceWith(document.importNode(find("header.top", page), true));
  find("#sign-in-hint")?.remove();
}

let signingIn = null;
function signIn() {
  signingIn ??= new Promise((resolve, reject) => {
    const show = (page) => {
      const login = document.importNode(find("#login", page), true);
      const close = Object.assign(document.createElement("button"), { className: "quiet close", type: "button", textContent: "Close" });
      close.addEventListener("click", () => dialog.close());
      login.addEventListener("submit", async (event) => {
        event.preventDefault();
        const { page: next } = await ask("POST", login.action, new URLSearchParams(new FormData(login)));
        if (find("#login", next)) return show(next);
        adopt(next);
        resolve();
        dialog.close();
      });
      dialog.replaceChildren(close, login);
      if (!dialog.open) dialog.showModal();
      find("[autofocus]", dialog)?.focus();
    };
    dialog.addEventListener("close", () => reject(new Error("You are not signed in.")), { once: true });
    ask("GET", "/login?next=/").then(({ page }) => {
      if (find("#login", page)) return show(page);
      adopt(page);  // signed in meanwhile, in another tab
      resolve();
    }).catch(reject);
  }).finally(() => { signingIn = null; });
  return signingIn;
}

async function askSignedIn(...request) {
  const answer = await ask(...request);
  if (answer.status !== 401) return answer;
  await signIn();
  return ask(...request);
}

/* Results */
const waiting = [];
let running = 0;

function enqueue(name, thumbnail, prepare) {
  const job = find("#job").content.firstElementChild.cloneNode(true);
  const cancelled = new AbortController();
  find(".name", job).textContent = name;
  if (thumbnail) find(".thumb", job).src = thumbnail;
  find(".thumb", job).addEventListener("error", (event) => event.target.removeAttribute("src"));
  find(".cancel", job).addEventListener("click", () => {
    cancelled.abort();
    const next = job.nextElementSibling ?? find("#file");
    job.remove();
    results.hidden = !results.childElementCount;
    say(`${name}: cancelled`);
    (find("button", next) ?? next).focus();
  });
  results.hidden = false;
  waiting.push({ name, job, prepare, cancelled });
  return job;
}

function begin(...jobs) {
  results.prepend(...jobs);  // the newest first
  jobs[0]?.scrollIntoView({ block: "nearest" });
  work();
}

function work() {
  while (running < AT_ONCE && waiting.length) {
    const task = waiting.shift();
    if (task.cancelled.signal.aborted) continue;
    running += 1;
    run(task).catch((error) => { if (error.name !== "AbortError") fail(task, error.message); })
      .finally(() => { running -= 1; work(); });
  }
}

async function run({ name, job, prepare, cancelled }) {
  const state = find(".state", job);
  const bar = find("progress", job);
  state.textContent = "Sending";
  const { url, body } = await prepare();
  if (cancelled.signal.aborted) return;
  const progress = (share) => {
    bar.value = share;
    if (share === 1) state.textContent = "Looking";
  };
  const { page } = await askSignedIn("POST", url, body, { progress, abort: cancelled.signal });
  const found = find(".result", page);
  if (!found) throw new Error(find(".problem .detail", page)?.textContent || "The server gave no answer.");
  const result = document.importNode(found, true);
  const file = Object.assign(document.createElement("p"), { className: "file", textContent: name });
  find(".answer", result).prepend(file);
  job.replaceWith(result);
  if (!waiting.length && running === 1) result.scrollIntoView({ block: "nearest" });
  say(`${name}: ${find("h2", result).textContent}. ${find(".verdict", result)?.textContent ?? ""}`);
}

function fail({ name, job }, words) {
  if (!job.isConnected) return;
  job.classList.add("wrong");
  find(".state", job).textContent = words;
  find("progress", job).remove();
  find(".cancel", job).textContent = "Dismiss";
  say(`${name}: ${words}`);
}

/* Files */
async function smaller(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, SMALLER_SIDE / Math.max(picture.width, picture.height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(picture.width * scale), height: Math.round(picture.height * scale),
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.9); });
}

async function upload(file) {
  if (!TYPES.has(file.type)) throw new Error("This is not a PNG, JPEG or WebP picture.");
  if (!file.size) throw new Error("This file is empty.");
  const body = new FormData();
  const small = file.size < MOST_BYTES - 4096 ? file : await smaller(file).catch(() => null);
  if (!small || small.size > MOST_BYTES) throw new Error("This picture is larger than 5 MiB and cannot be made smaller here.");
  body.append("file", small, "picture");
  return { url: form.action, body };
}

function take(files) {
  const jobs = Array.from(files, (file) => {
    const thumbnail = TYPES.has(file.type) ? URL.createObjectURL(file) : null;
    const job = enqueue(file.name || "Pasted picture", thumbnail, () => upload(file));
    find(".thumb", job).addEventListener("load", () => URL.revokeObjectURL(thumbnail), { once: true });
    return job;
  });
  begin(...jobs);
}

if (form) {
  const input = find("#file");
  input.multiple = true;
  input.required = false;
  const empty = () => { input.value = ""; input.removeAttribute("capture"); };
  input.addEventListener("change", () => { take(input.files); empty(); });
  input.addEventListener("cancel", empty);
  const camera = find(".camera");
  camera.hidden = !matchMedia("(pointer: coarse)").matches;
  camera.addEventListener("click", () => { input.setAttribute("capture", "environment"); input.click(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  let inside = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) form.classList.toggle("over", ++inside > 0); });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event)) form.classList.toggle("over", --inside > 0); });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    inside = 0;
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
  for (const example of document.querySelectorAll(".examples form")) {
    example.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = find("button span span", example).nextSibling.textContent;
      const job = enqueue(name, find("img", example).src, async () => ({ url: example.action, body: new FormData(example) }));
      begin(job);
    });
  }
}

/* Feedback, wherever it stands */
document.addEventListener("submit", async (event) => {
  const place = event.target.closest(".feedback");
  if (!place) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target));
  try {
    const { page } = await askSignedIn("POST", event.target.action, body);
    const found = find(".feedback", page);
    if (!found) throw new Error(find(".problem .detail", page)?.textContent);
    const fresh = document.importNode(found, true);
    place.replaceWith(fresh);
    find("button", fresh).focus();
    say(find("p", fresh)?.textContent ?? "Taken back.");
  } catch (error) {
    say(error.message);
  }
});

/* Copy buttons */
for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "Copied";
    say("Copied");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
