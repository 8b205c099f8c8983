// preprocessing: fashion_mnist, as the Python modules beside this file do it. OpenCV is the same library, compiled for
// browsers: cv() loads it and returns {library}. COLOUR_MAPS are the colours of colour_maps.py: name to 256 times red,
// green, blue.

const SIDE = 28;
const LIGHT = 128;
const NEEDED_SIDE = 640;
const DETAIL_SIDE = 320;

function decodeSide() {
  return NEEDED_SIDE;
}

async function prepare(image) {
  return (await restored(image)) ?? productOrPhoto(image);
}

const median = (values) => {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

// rgb.reduced
function reduced(image, side) {
  const factor = Math.max(1, Math.floor(Math.max(image.width, image.height) / side));
  return thumbnail(reduce(image, factor), side, "box");
}

async function productOrPhoto(image) {
  const small = reduced(image, DETAIL_SIDE);
  if (isProductImage(small)) return preparedProduct(image);
  if (Math.min(image.width, image.height) < 16) return datasetPipeline(image);
  return preparedPhoto(small);
}
