// The object of a photo, as segmentation.py segments it.

const [EDGE_LOW, EDGE_HIGH] = [0.3, 0.7];

async function preparedPhoto(small) {
  const { library: opencv } = await cv();
  const freed = [];
  const keep = (mat) => (freed.push(mat), mat);
  try {
    return segmented(opencv, keep, small);
  } finally {
    for (const mat of freed) mat.delete();
  }
}

function segmented(opencv, keep, small) {
  const { width, height } = small;
  const scale = 128 / Math.max(width, height);
  const [w, h] = [width, height].map((side) => Math.max(1, roundHalfEven(side * scale)));
  const photo = keep(opencv.matFromArray(height, width, opencv.CV_8UC3, small.data));
  const working = keep(new opencv.Mat());
  opencv.resize(photo, working, new opencv.Size(w, h), 0, 0, opencv.INTER_AREA);
  let mask = cleanMask(opencv, keep, grabcut(opencv, keep, working, w, h), w, h);
  let area = mask.reduce((a, b) => a + b, 0) / mask.length;
  const steps = [`segmented from the photo: ${roundHalfEven(100 * area)}% of its area`];
  let weight = softMask(opencv, keep, mask, w, h, width, height);
  if (area < 0.01 || !weight.some((value) => value > 0.5)) {
    steps[0] = "no object found: the whole photo is used";
    weight = new Float32Array(width * height).fill(1);
  }
  const grey = negated(opencv, keep, photo, weight, width, height);
  const fit = SIDE / Math.max(grey.width, grey.height);
  const [outWidth, outHeight] = [grey.width, grey.height].map((side) => Math.max(1, roundHalfEven(side * fit)));
  const source = keep(opencv.matFromArray(grey.height, grey.width, opencv.CV_32FC1, grey.data));
  const fitted = keep(new opencv.Mat());
  opencv.resize(source, fitted, new opencv.Size(outWidth, outHeight), 0, 0, opencv.INTER_AREA);
  const data = Uint8Array.from(fitted.data32F, roundHalfEven);
  const inner = { width: outWidth, height: outHeight, channels: 1, data };
  const [left, top] = [Math.floor((SIDE - outWidth) / 2), Math.floor((SIDE - outHeight) / 2)];
  steps.push("negated and brightened", `resized to ${outWidth} x ${outHeight}, centred`);
  return { pixels: pasted(SIDE, SIDE, inner, left, top, [0]).data, steps, isPhoto: true };
}

function grabcut(opencv, keep, working, w, h) {
  const thickness = Math.max(2, roundHalfEven(0.04 * Math.min(w, h)));
  const guess = keep(new opencv.Mat(h, w, opencv.CV_8UC1, new opencv.Scalar(opencv.GC_BGD)));
  let possible = false;
  for (let y = thickness; y < h - thickness; y++)
    for (let x = thickness; x < w - thickness; x++) {
      guess.data[y * w + x] = opencv.GC_PR_FGD;
      possible = true;
    }
  if (!possible) return new Uint8Array(w * h);
  const bgr = keep(new opencv.Mat());
  opencv.cvtColor(working, bgr, opencv.COLOR_RGB2BGR);
  const [background, foreground] = [keep(new opencv.Mat()), keep(new opencv.Mat())];
  opencv.setRNGSeed(0);
  opencv.grabCut(bgr, guess, new opencv.Rect(0, 0, 0, 0), background, foreground, 2, opencv.GC_INIT_WITH_MASK);
  return Uint8Array.from(guess.data, (value) => value & 1);
}

function cleanMask(opencv, keep, mask, w, h) {
  const source = keep(opencv.matFromArray(h, w, opencv.CV_8UC1, mask));
  const opened = keep(new opencv.Mat());
  const disc = keep(opencv.getStructuringElement(opencv.MORPH_ELLIPSE, new opencv.Size(3, 3)));
  opencv.morphologyEx(source, opened, opencv.MORPH_OPEN, disc);
  const components = keep(new opencv.Mat());
  const count = opencv.connectedComponents(opened, components, 4, opencv.CV_32S);
  if (count < 2) return mask;
  const labels = components.data32S;
  const weights = new Float64Array(count);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const [dy, dx] = [(y - (h - 1) / 2) / (h * 0.6), (x - (w - 1) / 2) / (w * 0.6)];
      weights[labels[y * w + x]] += Math.exp(-(dy ** 2 + dx ** 2));
    }
  weights[0] = 0;
  const heaviest = Math.max(...weights);
  const kept = Uint8Array.from(labels, (label) => (weights[label] >= 0.2 * heaviest ? 1 : 0));
  const area = kept.reduce((a, b) => a + b, 0);
  const outside = keep(opencv.matFromArray(h, w, opencv.CV_8UC1, kept.map((value) => 1 - value)));
  const gapComponents = keep(new opencv.Mat());
  const gaps = opencv.connectedComponents(outside, gapComponents, 4, opencv.CV_32S);
  const gapLabels = gapComponents.data32S;
  const areas = new Float64Array(gaps);
  const inside = new Uint8Array(gaps).fill(1);
  inside[0] = 0;
  gapLabels.forEach((label, i) => {
    areas[label]++;
    const [x, y] = [i % w, Math.floor(i / w)];
    if (x === 0 || y === 0 || x === w - 1 || y === h - 1) inside[label] = 0;
  });
  return kept.map((value, i) => (value || (inside[gapLabels[i]] && areas[gapLabels[i]] < 0.03 * area) ? 1 : 0));
}

function softMask(opencv, keep, mask, w, h, width, height) {
  const source = keep(opencv.matFromArray(h, w, opencv.CV_32FC1, mask));
  const [large, blurred] = [keep(new opencv.Mat()), keep(new opencv.Mat())];
  opencv.resize(source, large, new opencv.Size(width, height), 0, 0, opencv.INTER_LINEAR);
  opencv.GaussianBlur(large, blurred, new opencv.Size(0, 0), 1);
  const [low, range] = [Math.fround(EDGE_LOW), Math.fround(EDGE_HIGH - EDGE_LOW)];
  return Float32Array.from(blurred.data32F, (value) => Math.min(Math.max(Math.fround(Math.fround(value - low) / range), 0), 1));
}

function negated(opencv, keep, photo, weight, width, height) {
  const grey = keep(new opencv.Mat());
  opencv.cvtColor(photo, grey, opencv.COLOR_RGB2GRAY);
  let [left, top, right, bottom] = [width, height, 0, 0];
  const dark = [];
  weight.forEach((value, i) => {
    if (!(value > 0.5)) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
    [top, bottom] = [Math.min(top, y), y + 1];
    dark.push(255 - grey.data[i]);
  });
  dark.sort((a, b) => a - b);
  const place = Math.fround((dark.length - 1) * Math.fround(0.97));
  const [lower, upper] = [dark[Math.floor(place)], dark[Math.min(Math.floor(place) + 1, dark.length - 1)]];
  const brightest = Math.fround(lower + (upper - lower) * (place - Math.floor(place)));
  const gain = Math.fround(Math.min(230 / Math.max(brightest, 1), 4));
  const size = { width: right - left, height: bottom - top };
  const data = new Float32Array(size.width * size.height);
  for (let y = top; y < bottom; y++)
    for (let x = left; x < right; x++) {
      const value = Math.min(Math.max(Math.fround((255 - grey.data[y * width + x]) * gain), 40), 255);
      data[(y - top) * size.width + x - left] = value * weight[y * width + x];
    }
  return { ...size, data };
}
