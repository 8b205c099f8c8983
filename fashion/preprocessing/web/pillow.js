// Pillow's operations on images of 8 bits a channel, bit for bit: a browser's own resampling gives other pixels.
// An image is {width, height, channels, data}: data is a Uint8Array, row by row, of 1 or 3 channels.

const RESAMPLING_BITS = 2 ** 22; // of the fixed-point weights in Pillow's Resample.c
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
// Support and weight of each filter.
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  // Its constants are in single precision in Pillow.
  hamming: [1, (x) => (Math.abs(x) >= 1 ? 0 : sinc(Math.abs(x)) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)))],
  bicubic: [2, (signed) => {
    const x = Math.abs(signed);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  }],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

const clip8 = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);

// Python's round(): halves go to the even neighbour.
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

// For each output pixel the first input pixel, and the weights from there on.
function resamplingWeights(size, from, to, outputs, filter) {
  const [support, weight] = FILTERS[filter];
  const scale = (to - from) / outputs;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  return Array.from({ length: outputs }, (_, output) => {
    const center = from + (output + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const last = Math.min(size, Math.trunc(center + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => weight((i + first - center + 0.5) / filterScale));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: sum === 0 ? weights : weights.map((each) => each / sum) };
  });
}

const fixedPoint = (rows) => rows.map(({ first, weights }) => ({
  first, weights: weights.map((each) => Math.trunc(each * RESAMPLING_BITS + (each < 0 ? -0.5 : 0.5))),
}));

// Image.resize(box=...): one axis after the other, with 8 bits between.
function resample(image, width, height, filter, box = [0, 0, image.width, image.height]) {
  const horizontal = (source) => horizontally(source, width, box[0], box[2], filter);
  const vertical = (source) => vertically(source, height, box[1], box[3], filter);
  // Pillow 13 takes the rows first where that leaves less to compute; its rule is found by trial, and tested.
  const rowsFirst = height < image.height && image.height - height > 2 * (image.width - width);
  return rowsFirst ? horizontal(vertical(image)) : vertical(horizontal(image));
}

function horizontally(image, width, left, right, filter) {
  if (width === image.width && left === 0 && right === image.width) return image;
  const { height, channels } = image;
  const columns = fixedPoint(resamplingWeights(image.width, left, right, width, filter));
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x];
      for (let c = 0; c < channels; c++) {
        let sum = RESAMPLING_BITS / 2;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * image.data[(y * image.width + first + i) * channels + c];
        data[(y * width + x) * channels + c] = clip8(Math.floor(sum / RESAMPLING_BITS));
      }
    }
  }
  return { width, height, channels, data };
}

function vertically(image, height, top, bottom, filter) {
  if (height === image.height && top === 0 && bottom === image.height) return image;
  const { width, channels } = image;
  const rows = fixedPoint(resamplingWeights(image.height, top, bottom, height, filter));
  const stride = width * channels;
  const data = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < stride; x++) {
      let sum = RESAMPLING_BITS / 2;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * image.data[(first + i) * stride + x];
      data[y * stride + x] = clip8(Math.floor(sum / RESAMPLING_BITS));
    }
  }
  return { width, height, channels, data };
}

// For each output pixel of Resampling.NEAREST its input pixel.
function nearestPixels(size, outputs) {
  const step = size / outputs;
  let place = step * 0.5;
  return Array.from({ length: outputs }, () => {
    const found = Math.trunc(place);
    place += step;
    return Math.min(found, size - 1);
  });
}

function nearest(image, width, height) {
  const columns = nearestPixels(image.width, width);
  const rows = nearestPixels(image.height, height);
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++)
        data[(y * width + x) * channels + c] = image.data[(rows[y] * image.width + columns[x]) * channels + c];
  return { width, height, channels, data };
}

// Image.reduce: the means of blocks, with Pillow's integer division.
function reduce(image, factorX, factorY = factorX) {
  if (factorX === 1 && factorY === 1) return image;
  const { channels } = image;
  const width = Math.ceil(image.width / factorX);
  const height = Math.ceil(image.height / factorY);
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const bottom = Math.min((y + 1) * factorY, image.height);
    for (let x = 0; x < width; x++) {
      const right = Math.min((x + 1) * factorX, image.width);
      const count = (right - x * factorX) * (bottom - y * factorY);
      const multiplier = Math.floor(2 ** 32 / (256 * count));
      for (let c = 0; c < channels; c++) {
        let sum = Math.floor(count / 2);
        for (let row = y * factorY; row < bottom; row++)
          for (let column = x * factorX; column < right; column++) sum += image.data[(row * image.width + column) * channels + c];
        data[(y * width + x) * channels + c] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return { width, height, channels, data };
}

// Image.thumbnail, with its default reducing_gap of 2.
function thumbnail(image, side, filter = "bicubic") {
  if (side >= image.width && side >= image.height) return image;
  const aspect = image.width / image.height;
  const best = (number, distance) => {
    const [low, high] = [Math.floor(number), Math.ceil(number)];
    return Math.max(distance(high) < distance(low) ? high : low, 1);
  };
  let [width, height] = [side, side];
  if (1 >= aspect) width = best(side * aspect, (n) => Math.abs(aspect - n / side));
  else height = best(side / aspect, (n) => (n === 0 ? 0 : Math.abs(aspect - side / n)));
  const factors = [[image.width, width], [image.height, height]].map(([from, to]) => Math.max(1, Math.trunc(from / to / 2)));
  const box = [0, 0, image.width / factors[0], image.height / factors[1]];
  return resample(reduce(image, ...factors), width, height, filter, box);
}

// Image.convert("L")
function luminance(image) {
  if (image.channels === 1) return image;
  const data = new Uint8Array(image.width * image.height);
  for (let i = 0; i < data.length; i++)
    data[i] = (image.data[3 * i] * 19595 + image.data[3 * i + 1] * 38470 + image.data[3 * i + 2] * 7471 + 0x8000) >> 16;
  return { width: image.width, height: image.height, channels: 1, data };
}

// ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0): its blur is three box blurs of radius 0.25.
function sharpen(image) {
  const { width, height, channels } = image;
  const inside = 11184811; // of 2**24: 1 / 1.5 in single precision
  const beside = Math.trunc((2 ** 24 - inside) / 2);
  const blur = (data, count, step, line) => {
    const result = new Uint8Array(data.length);
    const lines = data.length / count;
    for (let number = 0; number < lines; number++) {
      const start = line(number);
      for (let i = 0; i < count; i++) {
        const at = (place) => data[start + Math.min(Math.max(place, 0), count - 1) * step];
        result[start + i * step] = Math.floor((at(i) * inside + (at(i - 1) + at(i + 1)) * beside + 2 ** 23) / 2 ** 24);
      }
    }
    return result;
  };
  let blurred = image.data;
  const stride = width * channels;
  for (let pass = 0; pass < 3; pass++)
    blurred = blur(blurred, width, channels, (n) => Math.floor(n / channels) * stride + (n % channels));
  for (let pass = 0; pass < 3; pass++) blurred = blur(blurred, height, stride, (n) => n);
  return { width, height, channels, data: image.data.map((value, i) => clip8(2 * value - blurred[i])) };
}

// An image on a background, cropped to the size of that.
function pasted(width, height, image, left, top, colour) {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < data.length; i++) data[i] = colour[i % channels];
  for (let y = 0; y < image.height; y++)
    data.set(image.data.subarray(y * image.width * channels, (y + 1) * image.width * channels), ((top + y) * width + left) * channels);
  return { width, height, channels, data };
}

function cropped(image, left, top, right, bottom) {
  const { channels } = image;
  const stride = (right - left) * channels;
  const data = new Uint8Array(stride * (bottom - top));
  for (let y = top; y < bottom; y++) {
    const start = (y * image.width + left) * channels;
    data.set(image.data.subarray(start, start + stride), (y - top) * stride);
  }
  return { width: right - left, height: bottom - top, channels, data };
}
