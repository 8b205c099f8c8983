// The page: from files to answers. What comes before it decodes and prepares images.

const settings = JSON.parse(document.getElementById("settings").textContent);
const find = (selector) => document.querySelector(selector);
const MAX_BARS = 10;

// The content of a script element: gzip in base64.
async function unpacked(name) {
  const packed = Uint8Array.from(atob(document.getElementById(name).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

const scriptUrl = async (name) => URL.createObjectURL(new Blob([await unpacked(name)], { type: "text/javascript" }));

async function loadSession() {
  const ort = await import(await scriptUrl("onnxruntime-js"));
  ort.env.wasm.numThreads = 1; // more need headers that a file does not have
  ort.env.wasm.wasmBinary = await unpacked("onnxruntime-wasm");
  const session = await ort.InferenceSession.create(new Uint8Array(await unpacked("model")), { executionProviders: ["wasm"] });
  return { ort, session };
}

let loading;
const runtime = () => (loading ??= loadSession());

let opencv;
// Returns OpenCV, loaded when an image first needs it: in an object, because it has a method then() like a promise, which
// await would call for ever.
function cv() {
  opencv ??= scriptUrl("opencv").then((url) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.onerror = () => reject(new Error("OpenCV cannot be loaded"));
    script.onload = () => {
      const found = globalThis.cv;
      if (found instanceof Promise) found.then((library) => resolve({ library }), reject);
      else if (found.Mat) resolve({ library: found });
      else found.onRuntimeInitialized = () => resolve({ library: found });
    };
    document.head.append(script);
  }));
  return opencv;
}

// Returns the model's pixels for a file, and how they were obtained.
async function preparedFrom(file) {
  const { image, original } = await decode(file, decodeSide(settings.input));
  const prepared = await prepare(image, settings.input);
  if (image.width === original[0]) return prepared;
  const reducedTo = `decoded at ${image.width} x ${image.height} instead of ${original.join(" x ")}`;
  return { ...prepared, steps: [reducedTo, ...prepared.steps] };
}

// Returns the answer for a file, as POST /predict does.
async function classify(file) {
  const prepared = await preparedFrom(file);
  const { height, width, channels } = settings.input;
  const views = prepared.isPhoto ? [prepared.pixels, mirrored(prepared.pixels, width, channels)] : [prepared.pixels];
  const { ort, session } = await runtime();
  const size = height * width * channels;
  const input = new Float32Array(views.length * size);
  views.forEach((view, i) => view.forEach((value, j) => (input[i * size + j] = Math.fround(value) / 255)));
  const found = await session.run({ images: new ort.Tensor("float32", input, [views.length, height, width, channels]) });
  const output = (name) => (prepared.isPhoto && found[`photo_${name}`]) || found[name];
  const mean = (data, length) => Array.from({ length }, (_, i) => views.reduce((sum, _, v) => sum + data[v * length + i], 0) / views.length);
  const probabilities = mean(output("probabilities").data, settings.classes.length);
  const order = probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  const threshold = prepared.isPhoto ? settings.photo_threshold : settings.threshold;
  const score = threshold === null ? null : mean(output("score").data, 1)[0];
  return {
    predicted_class: settings.classes[order[0]],
    probabilities,
    order,
    also_likely: order.slice(1).filter((i) => probabilities[i] >= 0.5 * probabilities[order[0]]),
    decision: threshold === null || score <= threshold ? "accept" : "abstain",
    score,
    steps: prepared.steps,
    pixels: prepared.pixels,
  };
}

function mirrored(pixels, width, channels) {
  return pixels.map((_, i) => {
    const pixel = Math.floor(i / channels);
    const column = pixel % width;
    return pixels[(pixel - column + (width - 1 - column)) * channels + (i % channels)];
  });
}

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function percent(share, digits) { // never rounds to a certainty, like the server's
  const smallest = 10 ** -digits, [over, under] = digits ? [">", "<"] : ["over", "under"];
  if (100 * share >= 100 - smallest / 2 && share < 1) return `${over} ${(100 - smallest).toFixed(digits)} %`;
  if (share > 0 && 100 * share < smallest / 2) return `${under} ${smallest.toFixed(digits)} %`;
  return `${(100 * share).toFixed(digits)} %`;
}

function bar(share) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, width] of [["track", 1], ["fill", share]]) {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("class", name);
    rect.setAttribute("width", `${(100 * width).toFixed(2)}%`);
    rect.setAttribute("height", "100%");
    rect.setAttribute("rx", "4");
    svg.append(rect);
  }
  return svg;
}

const named = (index) => element("bdi", {}, settings.classes[index]);

function answerOf(result, name) {
  const share = result.probabilities[result.order[0]];
  const heading = element("h2", { tabIndex: -1 });
  const answer = element("div", { className: "answer" }, element("p", { className: "file" }, name), heading);
  if (result.decision === "abstain") {
    heading.append("Not sure");
    answer.append(element("p", { className: "verdict" }, "This may be none of these classes. Closest: ", element("b", {}, named(result.order[0])), `, ${percent(share, 0)}.`));
  } else {
    heading.append(named(result.order[0]), ", ", element("span", { className: "share" }, percent(share, 0)));
    if (result.also_likely.length > 0) {
      const others = result.also_likely.slice(0, 4).flatMap((index, i) => (i === 0 ? [named(index)] : [" or ", named(index)]));
      answer.append(element("p", { className: "verdict" }, "Or perhaps ", ...others, "."));
    }
  }
  const bars = element("ol", { className: "bars", ariaLabel: "Classes, most probable first" });
  for (const index of result.order.slice(0, MAX_BARS)) {
    const kind = named(index);
    kind.className = "kind";
    bars.append(element("li", {}, kind, bar(result.probabilities[index]), element("span", { className: "share" }, percent(result.probabilities[index], 1))));
  }
  answer.append(bars);
  return answer;
}

function seenByModel(pixels) {
  const { height, width, channels } = settings.input;
  const canvas = element("canvas", { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < 4; c++) image.data[4 * i + c] = c === 3 ? 255 : pixels[i * channels + (channels === 1 ? 0 : c)];
  canvas.getContext("2d").putImageData(image, 0, 0);
  const colours = channels === 1 ? "grey" : "colour";
  const tiny = Math.max(width, height) <= 64 ? "pixels" : "";
  return element("figure", {}, element("img", { src: canvas.toDataURL(), className: tiny, alt: `The image as ${width} by ${height} ${colours} pixels` }),
    element("figcaption", {}, `What the model saw: ${width} × ${height}`));
}

async function show(file, name) {
  const results = find("#results");
  results.hidden = false;
  const state = element("p", { className: "state" }, "Classifying …");
  const article = element("article", { className: "job" }, element("div", {}, element("p", { className: "name" }, name), state));
  results.prepend(article);
  try {
    const result = await classify(file);
    const own = element("figure", {}, element("img", { className: "whole", src: URL.createObjectURL(file), alt: "Your image" }), element("figcaption", {}, "Your image"));
    const steps = element("div", { className: "steps" }, element("h3", {}, "Preprocessing"), element("ol", {}, ...result.steps.map((step) => element("li", {}, step))));
    article.className = `result ${result.decision}`;
    article.replaceChildren(answerOf(result, name), element("div", { className: "images" }, own, seenByModel(result.pixels), steps));
    find("#status").textContent = result.decision === "abstain" ? `${name}: not sure` : `${name}: ${result.predicted_class}`;
    article.querySelector("h2").focus({ preventScroll: true });
    article.scrollIntoView({ block: "nearest" });
  } catch (error) {
    article.classList.add("wrong");
    state.textContent = error instanceof ImageError ? error.message : `It could not be classified: ${error.message ?? error}`;
    find("#status").textContent = `${name}: ${state.textContent}`;
    if (!(error instanceof ImageError)) console.error(error);
  }
}

async function add(files) {
  for (const file of [...files]) await show(file, file.name);
}

const input = find("#file");
input.addEventListener("change", () => { const files = [...input.files]; input.value = ""; input.removeAttribute("capture"); add(files); });
input.addEventListener("cancel", () => input.removeAttribute("capture"));
const camera = find(".camera");
camera.hidden = !matchMedia("(pointer: coarse)").matches;
camera.addEventListener("click", () => { input.setAttribute("capture", "environment"); input.click(); });
const form = find("#upload");
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (event.relatedTarget === null) form.classList.remove("over"); });
document.addEventListener("drop", (event) => { event.preventDefault(); form.classList.remove("over"); add(event.dataTransfer.files); });
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const button of document.querySelectorAll("[data-example]"))
  button.addEventListener("click", async () => {
    const example = settings.examples[button.dataset.example];
    const content = Uint8Array.from(atob(example.file), (letter) => letter.charCodeAt(0));
    await show(new Blob([content]), `Example: ${example.label}`);
  });
find("#licences").addEventListener("toggle", async (event) => {
  event.target.querySelector("pre").textContent ||= new TextDecoder().decode(await unpacked("licence-texts"));
});

globalThis.classifier = { classify, preparedFrom }; // for other scripts on the page
runtime().catch((error) => (find("#status").textContent = `This page cannot run here: ${error.message ?? error}`));
