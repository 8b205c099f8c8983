// The page works without this script, which lets forms answer in place, and images be dropped, pasted and uploaded by
// the dozen. All HTML comes from the server's own pages; text from files and users is only ever set as text.

const MAX_BYTES = 5 * 1024 * 1024 - 4096;  // of an image; the server's limit, without the form around it
const MAX_PIXELS = 25e6, MAX_SIDE = 8192;  // the server's limits
const SURELY_SMALL_BYTES = 1024 * 1024;  // its pixels are not counted
const SCALED_SIDE = 2048;
const MAX_UPLOADS = 2;  // at the same time

const find = (selector, place = document) => place.querySelector(selector);
const form = find("#upload");
const accepted = (file) => find("#file").accept.split(",")
  .some((kind) => file.type === kind || file.name.toLowerCase().endsWith(kind));  // file.type is empty where the system does not know HEIC
const results = find("#results");
const dialog = find("#sign-in");
const problemOn = (page) => find(".problem .detail", page)?.textContent || "The server sent no result.";
const announce = (words) => { find("#status").textContent = words; };

document.documentElement.classList.add("js");

/* Fetch a page. XMLHttpRequest reports the progress of an upload, and parses HTML without running scripts. */
function load(method, url, body, { progress = () => {}, abort = null } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    request.onload = () => {
      if (request.response) resolve({ status: request.status, page: request.response });
      else reject(new Error(`The server cannot answer now (status ${request.status}). Try again in a moment.`));
    };
    request.onerror = () => reject(new Error("Cannot reach the server. Check your connection."));
    request.onabort = () => reject(new DOMException("Cancelled.", "AbortError"));
    abort?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/* Signing in without leaving the page, so that nothing dropped on it is lost. */
function showSignedIn(page) {
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
      login.addEventListener("submit", (event) => {
        event.preventDefault();
        load("POST", login.action, new URLSearchParams(new FormData(login))).then(({ status, page: next }) => {
          if (find("#login", next)) return show(next);
          if (status !== 200) throw new Error(problemOn(next));
          showSignedIn(next);
          resolve();
          dialog.close();
        }).catch((error) => { reject(error); dialog.close(); });
      });
      dialog.replaceChildren(close, login);
      if (!dialog.open) dialog.showModal();
      find("[autofocus]", dialog)?.focus();
    };
    dialog.addEventListener("close", () => reject(new Error("You are not signed in.")), { once: true });
    load("GET", new URL("../login", import.meta.url)).then(({ page }) => {
      if (find("#login", page)) return show(page);
      showSignedIn(page);  // signed in from another tab in the meantime
      resolve();
    }).catch(reject);
  }).finally(() => { signingIn = null; });
  return signingIn;
}

async function loadSignedIn(...request) {
  const answer = await load(...request);
  if (answer.status !== 401 && !find("#login", answer.page)) return answer;  // pages redirect to the form
  await signIn().catch((error) => {
    for (const task of waiting.splice(0)) fail(task, error.message);  // each would ask again
    throw error;
  });
  return load(...request);
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
    announce(`${name}: cancelled`);
    (find("button", next) ?? next).focus();
  });
  results.hidden = false;
  waiting.push({ name, job, prepare, cancelled });
  return job;
}

function begin(...jobs) {
  results.prepend(...jobs);  // newest first
  jobs[0]?.scrollIntoView({ block: "nearest" });
  work();
}

function work() {
  while (running < MAX_UPLOADS && waiting.length) {
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
  state.textContent = "Uploading";
  const { url, body } = await prepare();
  if (cancelled.signal.aborted) return;
  const progress = (share) => {
    bar.value = share;
    if (share === 1) state.textContent = "Classifying";
  };
  const { page } = await loadSignedIn("POST", url, body, { progress, abort: cancelled.signal });
  const found = find(".result", page);
  if (!found) throw new Error(problemOn(page));
  const result = document.importNode(found, true);
  const file = Object.assign(document.createElement("p"), { className: "file", textContent: name });
  find(".answer", result).prepend(file);
  job.replaceWith(result);
  if (!waiting.length && running === 1) result.scrollIntoView({ block: "nearest" });
  announce(`${name}: ${find("h2", result).textContent}. ${find(".verdict", result)?.textContent ?? ""}`);
}

function fail({ name, job }, words) {
  if (!job.isConnected) return;
  job.classList.add("wrong");
  find(".state", job).textContent = words;
  find("progress", job).remove();
  find(".cancel", job).textContent = "Dismiss";
  announce(`${name}: ${words}`);
}

/* Files */
/* Return a file that the server accepts: the file itself, or a smaller copy. */
async function withinLimits(file) {
  const image = await createImageBitmap(file);
  if (file.size <= MAX_BYTES && image.width * image.height <= MAX_PIXELS && Math.max(image.width, image.height) <= MAX_SIDE) {
    image.close();
    return file;
  }
  const scale = Math.min(1, SCALED_SIDE / Math.max(image.width, image.height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(image.width * scale), height: Math.round(image.height * scale),
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const transparent = data.some((value, index) => index % 4 === 3 && value < 255);  // the server chooses what is behind
  return new Promise((resolve) => { canvas.toBlob(resolve, transparent ? "image/webp" : "image/jpeg", 0.9); });
}

async function upload(file) {
  if (!accepted(file)) throw new Error(`This file's format is not supported. Upload ${form.dataset.formats}.`);
  if (!file.size) throw new Error("This file is empty.");
  const body = new FormData();
  // A format that the browser cannot decode, such as HEIC, is sent as it is.
  const small = file.size < SURELY_SMALL_BYTES ? file : await withinLimits(file).catch(() => file);
  if (!small || small.size > MAX_BYTES) throw new Error("This image is larger than 5 MiB and could not be scaled down.");
  body.append("file", small, "image");
  return { url: form.action, body };
}

function add(files) {
  const jobs = Array.from(files, (file) => {
    const thumbnail = accepted(file) ? URL.createObjectURL(file) : null;
    const job = enqueue(file.name || "Pasted image", thumbnail, () => upload(file));
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
  input.addEventListener("change", () => { add(input.files); empty(); });
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
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (!files.length) return;
    event.preventDefault();
    add(files);
  });
  for (const example of document.querySelectorAll(".examples form")) {
    example.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = find("bdi", example).textContent;
      const job = enqueue(name, find("img", example).src, async () => ({ url: example.action, body: new FormData(example) }));
      begin(job);
    });
  }
}

/* Feedback, on any page */
document.addEventListener("submit", async (event) => {
  const place = event.target.closest(".feedback");
  if (!place) return;
  event.preventDefault();
  const typed = find("input[list]", event.target);
  if (typed && !Array.from(typed.list.options).some((choice) => choice.value === typed.value)) {
    typed.setCustomValidity("Choose one of the classes in the list.");
    typed.reportValidity();
    typed.addEventListener("input", () => typed.setCustomValidity(""), { once: true });
    return;
  }
  const body = new URLSearchParams(new FormData(event.target));
  try {
    const { page } = await loadSignedIn("POST", event.target.action, body);
    const found = find(".feedback", page);
    if (!found) throw new Error(problemOn(page));
    const fresh = document.importNode(found, true);
    place.replaceWith(fresh);
    find("button", fresh).focus();
    announce(find("p", fresh)?.textContent ?? "Feedback withdrawn.");
  } catch (error) {
    const line = find(".problem-line", place) ?? Object.assign(document.createElement("p"), { className: "problem-line" });
    line.textContent = error.message;
    place.append(line);
    announce(error.message);
  }
});

/* Copy buttons */
for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "Copied";
    announce("Copied");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
