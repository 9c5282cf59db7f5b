// Elements, and values as text. Whatever comes from the data gets into the page as a text node or an attribute: never
// as markup. `shown` makes visible what would hide or reorder text: control, format and unassigned characters.

const SVG = 'http://www.w3.org/2000/svg';

function shown(text) {
  return String(text).replace(/[\p{C}\u2028\u2029]/gu, (c) => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0'));
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : shown(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child instanceof Node ? child : shown(child));
  }
  return node;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// A name: isolated, so that its direction of writing does not touch what stands beside it; of a long one, if `most` is
// given, a part.
const named = (text, most) => el('bdi', { class: 'name', title: text }, most ? clipped(text, most) : text);

// A name over several lines, where there is no room: broken after the signs that names are made of.
const broken = (text) => el('bdi', { class: 'name', title: text },
  shown(text).split(/(?<=[_/-]|\.(?=\p{L}))/u).flatMap((part, n) => (n ? [el('wbr'), part] : [part])));

// Of a long text the beginning and the end; of a name, without what the names of all experiments begin with.
function clipped(text, most) {
  const points = [...shown(text)];
  const start = [...commonStart].length;
  if (points.length <= most || start < 4 || !shown(text).startsWith(commonStart)) return middle(points, most);
  return '\u2026' + middle(points.slice(Math.min(start, points.length - most + 1)), most - 1);
}

function startOfAll(names) {
  let start = names.length > 1 ? names[0] : '';
  for (const name of names) while (!name.startsWith(start)) start = start.slice(0, -1);
  return start;
}

function middle(points, most) {
  if (points.length <= most) return points.join('');
  const tail = Math.floor((most - 1) / 2);
  return points.slice(0, most - 1 - tail).join('') + '\u2026' + points.slice(points.length - tail).join('');
}

function number(value) {
  if (value === null || value === undefined) return '\u2013';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(2).replace('e+', 'e');
  if (size === 0 || size >= 1e4) return Math.round(value).toLocaleString('en');
  return value.toLocaleString('en', { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
}

const whole = (value) => (value === null || value === undefined ? '\u2013' : value.toLocaleString('en'));

function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return (unit && value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en')) + ' ' + units[unit];
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return '\u2013';
  if (seconds < 1e-3) return (seconds * 1e6).toFixed(0) + ' \u00b5s';
  if (seconds < 1) return (seconds * 1e3).toPrecision(3) + ' ms';
  return seconds < 100 ? seconds.toPrecision(3) + ' s' : Math.round(seconds).toLocaleString('en') + ' s';
}

const plural = (count, noun) => whole(count) + ' ' + noun + (count === 1 ? '' : 's');
const direction = (mode) => (mode === 'min' ? 'less is better' : mode === 'max' ? 'more is better' : '');
const moment = (text) => text.slice(0, 16).replace('T', ' ');
