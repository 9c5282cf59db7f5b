// From values to pixels, and where the ticks are.

function linear(low, high, from, to) {
  if (low === high) { const pad = Math.abs(low) * 0.05 || 0.5; low -= pad; high += pad; }
  const place = (value) => from + ((value - low) / (high - low)) * (to - from);
  place.invert = (pixel) => low + ((pixel - from) / (to - from)) * (high - low);
  place.ticks = (count) => linearTicks(low, high, count);
  return place;
}

function logarithmic(low, high, from, to) {
  const inner = linear(Math.log10(low), Math.log10(high), from, to);
  const place = (value) => inner(Math.log10(value));
  place.invert = (pixel) => 10 ** inner.invert(pixel);
  place.ticks = (count) => logTicks(low, high, count);
  return place;
}

// Multiples of 1, 2 or 5 times a power of ten, of which there are about as many as wanted.
function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor, n) => rough / power < Math.sqrt(factor * [2, 5, 10, 20][n]));
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) ticks.push(Number((n * step).toPrecision(12)));
  return ticks;
}

// Powers of ten; where there are few, 2 and 5 times these as well; within less than a decade, as on a linear scale.
function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 1) return linearTicks(low, high, count).filter((tick) => tick > 0);
  const every = Math.max(1, Math.ceil(decades / count));
  const factors = decades < count / 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e4) {
    for (const [unit, name] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
      if (size >= unit) return Number((value / unit).toPrecision(4)) + name;
    }
  }
  if (size !== 0 && size < 1e-3) return value.toExponential(0).replace('e-', 'e\u2212');
  return String(Number(value.toPrecision(6))).replace('-', '\u2212');
}

// The place of the entry that is nearest to a value, in an array in order.
function nearest(values, wanted) {
  let low = 0, high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle; else high = middle;
  }
  return Math.abs(values[low] - wanted) <= Math.abs(values[high] - wanted) ? low : high;
}
