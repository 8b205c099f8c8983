// Upscaled images of 28 x 28 grey pixels, as upscaled.py restores them.

const PILLOW = { nearest: null, bilinear: "bilinear", bicubic: "bicubic", Lanczos: "lanczos" };
const RESAMPLERS = [
  ["nearest", "Pillow", 0.085], ["bilinear", "Pillow", 0.045], ["bicubic", "Pillow", 0.045], ["nearest", "OpenCV", 0.085],
  ["bicubic", "OpenCV", 0.045], ["Lanczos", "Pillow", 0.045], ["Lanczos", "OpenCV", 0.045],
];

const interpolationOf = (opencv, name) => ({ nearest: opencv.INTER_NEAREST, bicubic: opencv.INTER_CUBIC, Lanczos: opencv.INTER_LANCZOS4 })[name];

async function restored(image) {
  const side = image.width;
  if (image.height !== side || !(side === SIDE || (side >= 32 && side <= 640))) return null;
  const found = side === SIDE ? asIs(image) : await downscaled(image);
  if (found === null) return null;
  let { pixels } = found;
  const steps = [found.step];
  if (found.colourMap) steps.push(`colours of ${found.colourMap} converted to grey`);
  if (median([0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1].map((place) => pixels[place])) >= LIGHT) {
    pixels = pixels.map((value) => 255 - value);
    steps.push("negated: its background is light");
  }
  return { pixels, steps, isPhoto: false };
}

function asIs(image) {
  const found = greyOf(image, 6);
  return found && { ...found, step: `used as is: ${SIDE} x ${SIDE} grey` };
}

async function downscaled(image) {
  const { library: opencv } = await cv();
  const side = image.width;
  const candidates = findCandidates(opencv, image);
  if (candidates.length === 0) return null;
  const large = greyOf(image);
  const planes = planesOf(image, large);
  const deviation = standardDeviation(planes);
  let [best, found] = [Infinity, null];
  for (const upscaling of candidates) {
    const [error, small] = fittedTo(opencv, planes, upscaling, side);
    if (error < Math.min(best, upscaling.tolerance * deviation)) [best, found] = [error, { small, name: upscaling.name }];
    if (best <= 0.3) break;
  }
  if (found === null) return null;
  const rgb = { width: SIDE, height: SIDE, channels: 3, data: new Uint8Array(3 * SIDE * SIDE) };
  if (!large) found.small.forEach((plane, c) => plane.forEach((value, i) => (rgb.data[3 * i + c] = value)));
  const small = large ? { ...large, pixels: found.small[0] } : greyOf(rgb, 6);
  return small && { ...small, step: `restored to ${SIDE} x ${SIDE} from ${side} x ${side} (${found.name} interpolation)` };
}

function planesOf(image, grey) {
  if (grey) return [Float64Array.from(grey.pixels)];
  const count = image.width * image.height;
  return [0, 1, 2].map((c) => Float64Array.from({ length: count }, (_, i) => image.data[3 * i + c]));
}

function standardDeviation(planes) {
  let [sum, squares, count] = [0, 0, 0];
  for (const plane of planes) for (const value of plane) [sum, squares, count] = [sum + value, squares + value * value, count + 1];
  return Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
}

// The matrix from 28 pixels to a side, and the inverse of its product with its transpose.
function upscalingFor(opencv, [name, library, tolerance], side) {
  const matrix = Array.from({ length: side }, () => new Float64Array(SIDE));
  if (library === "Pillow" && name === "nearest") nearestPixels(SIDE, side).forEach((source, row) => (matrix[row][source] = 1));
  else if (library === "Pillow")
    resamplingWeights(SIDE, 0, SIDE, side, PILLOW[name]).forEach(({ first, weights }, row) => weights.forEach((each, i) => (matrix[row][first + i] = Math.fround(each))));
  else {
    const identity = opencv.Mat.eye(SIDE, SIDE, opencv.CV_32FC1);
    const enlarged = new opencv.Mat();
    opencv.resize(identity, enlarged, new opencv.Size(SIDE, side), 0, 0, interpolationOf(opencv, name));
    enlarged.data32F.forEach((value, i) => (matrix[Math.floor(i / SIDE)][i % SIDE] = value));
    identity.delete();
    enlarged.delete();
  }
  // Few weights of a row are not 0.
  const rows = matrix.map((row) => [...row.entries()].filter(([, value]) => value !== 0));
  return { name, library, rows, inverse: inverted(gram(rows)), tolerance: side < 2 * SIDE ? 0.015 : tolerance };
}

function gram(rows) {
  const product = Array.from({ length: SIDE }, () => new Float64Array(SIDE));
  for (const row of rows) for (const [i, a] of row) for (const [j, b] of row) product[i][j] += a * b;
  return product;
}

// Gauss-Jordan elimination with the largest pivot.
function inverted(matrix) {
  const rows = matrix.map((row, i) => [...row, ...Array.from({ length: SIDE }, (_, j) => (i === j ? 1 : 0))]);
  for (let column = 0; column < SIDE; column++) {
    let pivot = column;
    for (let row = column; row < SIDE; row++) if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    const divisor = rows[column][column];
    rows[column] = rows[column].map((value) => value / divisor);
    rows.forEach((row, i) => {
      const factor = row[column];
      if (i !== column && factor !== 0) rows[column].forEach((value, j) => (row[j] -= factor * value));
    });
  }
  return rows.map((row) => row.slice(SIDE));
}

// inverse @ (matrix.T @ columns): of columns of a side, 28 each.
function estimated({ rows, inverse }, column) {
  const projected = new Float64Array(SIDE);
  rows.forEach((row, y) => row.forEach(([i, value]) => (projected[i] += value * column(y))));
  return inverse.map((row) => row.reduce((sum, value, i) => sum + value * projected[i], 0));
}

function findCandidates(opencv, image) {
  const side = image.width;
  const step = (side - 1) / 17;
  const places = Array.from({ length: 16 }, (_, i) => roundHalfEven((i + 1) * step));
  const strip = { width: side, height: 16, channels: 3, data: new Uint8Array(16 * side * 3) };
  places.forEach((row, i) => strip.data.set(image.data.subarray(row * side * 3, (row + 1) * side * 3), i * side * 3));
  const planes = planesOf(strip, greyOf(strip));
  const deviation = standardDeviation(planes);
  const found = [];
  for (const resampler of RESAMPLERS) {
    const upscaling = upscalingFor(opencv, resampler, side);
    let [squares, count] = [0, 0];
    for (const plane of planes)
      for (let row = 0; row < 16; row++) {
        const estimate = estimated(upscaling, (x) => plane[row * side + x]);
        upscaling.rows.forEach((weights, x) => {
          const value = weights.reduce((sum, [i, each]) => sum + each * estimate[i], 0);
          squares += (plane[row * side + x] - Math.min(Math.max(value, 0), 255)) ** 2;
          count++;
        });
      }
    const error = Math.sqrt(squares / count);
    if (error < 2 * upscaling.tolerance * deviation) found.push({ ...upscaling, error });
  }
  return found.sort((a, b) => a.error - b.error).slice(0, 3);
}

function enlarged(opencv, plane, { name, library }, side) {
  const image = { width: SIDE, height: SIDE, channels: 1, data: plane };
  if (library === "Pillow") return (name === "nearest" ? nearest(image, side, side) : resample(image, side, side, PILLOW[name])).data;
  const source = opencv.matFromArray(SIDE, SIDE, opencv.CV_8UC1, plane);
  const target = new opencv.Mat();
  opencv.resize(source, target, new opencv.Size(side, side), 0, 0, interpolationOf(opencv, name));
  const data = Uint8Array.from(target.data);
  source.delete();
  target.delete();
  return data;
}

function imageEstimate(upscaling, plane, side) {
  const half = Array.from({ length: side }, (_, x) => estimated(upscaling, (y) => plane[y * side + x]));
  const columns = Array.from({ length: SIDE }, (_, y) => estimated(upscaling, (x) => half[x][y]));
  return Float64Array.from({ length: SIDE * SIDE }, (_, i) => columns[Math.floor(i / SIDE)][i % SIDE]);
}

function fittedTo(opencv, planes, upscaling, side) {
  let small = planes.map(() => new Uint8Array(SIDE * SIDE));
  let [best, found, error] = [Infinity, small, planes];
  for (let iteration = 0; iteration < 6; iteration++) {
    const corrections = error.map((plane) => imageEstimate(upscaling, plane, side));
    small = small.map((plane, c) => plane.map((value, i) => clip8(roundHalfEven(value + corrections[c][i]))));
    error = planes.map((plane, c) => {
      const again = enlarged(opencv, small[c], upscaling, side);
      return plane.map((value, i) => value - again[i]);
    });
    const squares = error.map((plane) => plane.reduce((sum, value) => sum + value * value, 0)).reduce((a, b) => a + b, 0);
    const remaining = Math.sqrt(squares / (error.length * side * side));
    if (remaining >= best) break;
    [best, found] = [remaining, small];
    if (best <= 0.3) break;
  }
  return [best, found];
}
