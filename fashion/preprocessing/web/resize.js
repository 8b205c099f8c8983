// preprocessing: resize, as fashion/preprocessing/resize.py does it.

const MIN_DRAFT_SCALE = 1.25;

function decodeSide(spec) {
  return Math.ceil(MIN_DRAFT_SCALE * Math.max(spec.height, spec.width));
}

// Returns the model's pixels, what was done, and whether the object was segmented from a photo.
async function prepare(colour, spec) {
  const image = spec.channels === 1 ? luminance(colour) : colour;
  const { width, height } = spec;
  if (image.width === width && image.height === height) return { pixels: image.data, steps: [], isPhoto: false };
  const filter = width <= image.width && height <= image.height ? "hamming" : "bicubic";
  const ratio = image.width / image.height;
  let resized;
  if (spec.fit === "crop") {
    const wanted = width / height;
    const [cropWidth, cropHeight] =
      ratio === wanted ? [image.width, image.height] : ratio > wanted ? [wanted * image.height, image.height] : [image.width, image.width / wanted];
    const [left, top] = [(image.width - cropWidth) * 0.5, (image.height - cropHeight) * 0.5];
    resized = resample(image, width, height, filter, [left, top, left + cropWidth, top + cropHeight]);
  } else if (spec.fit === "pad") {
    let [inWidth, inHeight] = [width, height];
    if (ratio > width / height) inHeight = roundHalfEven((image.height / image.width) * width);
    else if (ratio < width / height) inWidth = roundHalfEven((image.width / image.height) * height);
    const inner = resample(image, inWidth, inHeight, filter);
    const [left, top] = [roundHalfEven((width - inWidth) * 0.5), roundHalfEven((height - inHeight) * 0.5)];
    resized = pasted(width, height, inner, left, top, [0, 0, 0]);
  } else {
    resized = resample(image, width, height, filter);
  }
  const step = `resized from ${image.width} x ${image.height} to ${width} x ${height}`;
  return { pixels: resized.data, steps: [step], isPhoto: false };
}
