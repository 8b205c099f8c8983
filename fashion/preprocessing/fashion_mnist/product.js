// Product images on a plain background, as product.py prepares them.

const TRIM_SQUARE = (0.05 * 255) ** 2 * 3;

function cornerColour(image) {
  const corners = [0, image.width - 1].flatMap((x) => [0, image.height - 1].map((y) => 3 * (y * image.width + x)));
  return [0, 1, 2].map((c) => Math.trunc(median(corners.map((place) => image.data[place + c]))));
}

const brightnessOf = ([red, green, blue]) => (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;

function differsFrom(image, corner) {
  const differs = new Uint8Array(image.width * image.height);
  for (let i = 0; i < differs.length; i++) {
    let sum = 0;
    for (let c = 0; c < 3; c++) sum += (image.data[3 * i + c] - corner[c]) ** 2;
    differs[i] = sum > TRIM_SQUARE ? 1 : 0;
  }
  return differs;
}

function isProductImage(small) {
  const corner = cornerColour(small);
  const background = brightnessOf(corner);
  if (background > 40 && background < 200) return false;
  const { width, height } = small;
  const thickness = Math.max(1, roundHalfEven(0.02 * Math.min(width, height)));
  const differs = differsFrom(small, corner);
  let [border, plain] = [0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (y < thickness || y >= height - thickness || x < thickness || x >= width - thickness) {
        border++;
        plain += 1 - differs[y * width + x];
      }
  if (!(plain / border >= 0.9)) return false;
  const object = luminance(small).data.filter((_, i) => differs[i]);
  return object.length === 0 || median(object) < background === background >= LIGHT;
}

function preparedProduct(image) {
  const found = datasetPipeline(image);
  const brightness = brightnessOf(cornerColour(image));
  const remaining = Math.min(brightness, 255 - brightness);
  if (remaining === 0) return found;
  const factor = Math.fround(255 / (255 - remaining));
  const pixels = found.pixels.map((value) => clip8(roundHalfEven(Math.fround((value - remaining) * factor))));
  return { ...found, pixels, steps: [...found.steps, `background of ${brightness} set to black`] };
}

function datasetPipeline(image) {
  const corner = cornerColour(image);
  const box = trimmedBox(image, corner);
  const thumb = thumbnail(cropped(image, ...box), 73);
  const scale = SIDE / Math.max(thumb.width, thumb.height);
  const [width, height] = [thumb.width, thumb.height].map((side) => Math.max(1, roundHalfEven(side * scale)));
  const sharp = sharpen(nearest(thumb, width, height));
  const square = pasted(SIDE, SIDE, sharp, Math.floor((SIDE - width) / 2), Math.floor((SIDE - height) / 2), corner);
  const grey = luminance(square).data;
  const steps = [
    `trimmed from ${image.width} x ${image.height} to ${box[2] - box[0]} x ${box[3] - box[1]}`,
    `resized to ${width} x ${height}, sharpened, centred`,
  ];
  if (brightnessOf(corner) < LIGHT) return { pixels: grey, steps, isPhoto: false };
  return { pixels: grey.map((value) => 255 - value), steps: [...steps, "negated: its background is light"], isPhoto: false };
}

function trimmedBox(image, corner) {
  const differs = differsFrom(image, corner);
  let [left, top, right, bottom] = [image.width, image.height, 0, 0];
  for (let y = 0; y < image.height; y++)
    for (let x = 0; x < image.width; x++)
      if (differs[y * image.width + x]) {
        left = Math.min(left, x);
        right = Math.max(right, x + 1);
        top = Math.min(top, y);
        bottom = y + 1;
      }
  return right === 0 ? [0, 0, image.width, image.height] : [left, top, right, bottom];
}
