// From an image file to RGB pixels, upright and opaque, as fashion/preprocessing/decode.py does it.

const MAX_PIXELS = 25e6;

class ImageError extends Error {}

// Returns the image, its size before it was reduced, and whether it may be reduced: a large JPEG is, as the server decodes
// it at a half, a quarter or an eighth. There it is done in the frequency domain, here by means of blocks.
async function decode(file, side) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new ImageError("This is not an image that your browser can read.");
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new ImageError(`The image has ${width} × ${height} pixels, more than 25 million.`);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const image = flatten({ width, height, data: context.getImageData(0, 0, width, height).data });
  const head = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const isJpeg = head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff;
  const scale = Math.min(Math.floor(width / side), Math.floor(height / side));
  const factor = isJpeg ? [8, 4, 2, 1].find((each) => scale >= each) ?? 1 : 1;
  return { image: reduce(image, factor), original: [width, height] };
}

// transparency.py: composited onto black where what is visible is light, otherwise onto white.
function flatten({ width, height, data: rgba }) {
  const count = width * height;
  const data = new Uint8Array(3 * count);
  let [brightness, opacity, isOpaque] = [0, 0, true];
  for (let i = 0; i < count; i++) {
    const alpha = rgba[4 * i + 3];
    isOpaque &&= alpha === 255;
    opacity += alpha;
    brightness += alpha * ((rgba[4 * i] * 19595 + rgba[4 * i + 1] * 38470 + rgba[4 * i + 2] * 7471 + 0x8000) >> 16);
  }
  const background = !isOpaque && brightness / Math.max(opacity, 1) <= 127.5 ? 255 : 0;
  for (let i = 0; i < count; i++) {
    const alpha = rgba[4 * i + 3];
    for (let c = 0; c < 3; c++) {
      const value = rgba[4 * i + c];
      const sum = 128 * (value * alpha + background * (255 - alpha)) + 0x4000;
      data[3 * i + c] = alpha === 255 ? value : alpha === 0 ? background : (((sum >> 8) + sum) >> 8) >> 7;
    }
  }
  return { width, height, channels: 3, data };
}
