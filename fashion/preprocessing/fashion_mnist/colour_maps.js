// Grey pixels from colours, as colour_maps.py finds them.

function greyOf(image, maxDistance = 1) {
  const { data } = image;
  const count = image.width * image.height;
  let spread = 0;
  const places = new Map();
  for (let i = 0; i < count; i++) {
    const [red, green, blue] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    spread = Math.max(spread, Math.abs(red - green), Math.abs(blue - green));
    const packed = (red << 16) | (green << 8) | blue;
    places.set(packed, (places.get(packed) ?? 0) + 1);
  }
  if (spread <= 3) return { pixels: Uint8Array.from({ length: count }, (_, i) => data[3 * i + 1]) };
  if (places.size > SIDE * SIDE) return null;
  let best = { distance: Infinity };
  for (const [name, colours] of Object.entries(COLOUR_MAPS)) {
    const levels = new Map();
    let total = 0;
    for (const [packed, times] of places) {
      let [smallest, level] = [Infinity, 0];
      for (let each = 0; each < 256; each++) {
        const distance =
          ((packed >> 16) - colours[3 * each]) ** 2 + (((packed >> 8) & 255) - colours[3 * each + 1]) ** 2 + ((packed & 255) - colours[3 * each + 2]) ** 2;
        if (distance < smallest) [smallest, level] = [distance, each];
      }
      levels.set(packed, level);
      total += (smallest / 3) * times;
    }
    if (total / count < best.distance) best = { distance: total / count, levels, name };
  }
  if (!(best.distance <= maxDistance ** 2)) return null;
  const pixels = Uint8Array.from({ length: count }, (_, i) => best.levels.get((data[3 * i] << 16) | (data[3 * i + 1] << 8) | data[3 * i + 2]));
  return { pixels, colourMap: best.name };
}
