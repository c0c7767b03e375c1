// What has been, from /history: it survives a reload. Asked for seldom, drawn when an answer comes.

const HISTORY_EVERY = 10000;
/** Changes that are shown; the others are counted. */
const CHANGES_MAX = 20;
const SPARKS = [
  ['Lag', 'lag_seconds', (value) => duration(value)],
  ['Rows committed', 'committed_per_second', (value) => `${number(Math.round(value * 10) / 10)}/s`],
  ['Rows published', 'changes_per_second', (value) => `${number(Math.round(value * 10) / 10)}/s`],
  ['Messages published', 'messages_per_second', (value) => `${number(Math.round(value * 10) / 10)}/s`],
  ['Heartbeat round trip', 'heartbeat_seconds', (value) => duration(value)],
  ['Canary round trip', 'canary_seconds', (value) => duration(value)],
];

/** Points of a line in a box of 360 by 40; what is not known is a gap. */
function sparkPath(points, field, most) {
  let open = false;
  return points.map((point, at) => {
    const value = point[field];
    if (!isNumber(value)) { open = false; return ''; }
    const x = 360 - points.length + at + 1;
    const step = `${open ? 'L' : 'M'}${x} ${(38 - 36 * (most > 0 ? value / most : 0)).toFixed(1)}`;
    open = true;
    return step;
  }).join('');
}

function drawSparks(points) {
  const box = byId('sparks');
  sized(box, SPARKS.length, () => {
    const figure = make('div', 'spark');
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 360 40');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    svg.append(document.createElementNS(SVG, 'path'));
    figure.append(make('span', 'label'), svg);
    return figure;
  });
  SPARKS.forEach(([name, field, shown], at) => {
    const known = points.map((point) => point[field]).filter(isNumber);
    const most = Math.max(0, ...known);
    const figure = box.children[at];
    write(figure.firstChild, known.length > 0 ? `${name}: ${shown(known[known.length - 1])}, at most ${shown(most)} in the last ${duration(points.length * 10)}` : `${name}: nothing yet`);
    figure.querySelector('path').setAttribute('d', sparkPath(points, field, most));
  });
}

function changeItem(change) {
  const item = make('li');
  const box = make('details');
  const rest = make('ul');
  box.append(make('summary'), make('p'), rest);
  item.append(box);
  setIndicator(item, change.indicator);
  write(box.children[1], change.evidence || change.headline);
  [...change.facts, ...change.conditions.map((one) => `${one.name} ${one.status === 'false' ? 'did not hold' : 'was not known'} for ${duration(one.since_seconds)}: ${one.because}`), `Next: ${change.next_step}`]
    .forEach((fact) => { const line = make('li'); write(line, fact); rest.append(line); });
  return item;
}

/** Items of changes by their time, so that one that was opened stays open. */
let changeItems = new Map();

function drawChanges(changes) {
  const shown = changes.slice(0, CHANGES_MAX);
  const items = new Map(shown.map((one) => [one.at_us, changeItems.get(one.at_us) || changeItem(one)]));
  const isSame = items.size === changeItems.size && [...items.keys()].every((key) => changeItems.has(key));
  if (!isSame) byId('changes').replaceChildren(...items.values());
  changeItems = items;
  shown.forEach((one, at) => {
    const lasted = at > 0 ? `, for ${duration((shown[at - 1].at_us - one.at_us) / 1e6)}` : '';
    write(items.get(one.at_us).querySelector('summary'), `${clock(new Date(one.at_us / 1000))}: ${one.label}: ${one.headline} [${one.state}]${lasted}`);
  });
  write(byId('changes-more'), andMore(changes.length - CHANGES_MAX, ': binpulse status --history'));
}

function drawHistory(history) {
  write(byId('history-late'), history.late ? `${history.late}.` : '');
  write(byId('history-told'), history.told);
  drawSparks(history.points);
  const busiest = history.busiest || [];
  byId('busiest-box').hidden = busiest.length === 0;
  drawList(byId('busiest'), busiest.map((one) => [one.table, `${number(Math.round(one.rows_per_second * 10) / 10)} rows/s`]));
  drawChanges(history.changes);
}

async function askHistory() {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), HISTORY_EVERY / 2);
  try {
    const answer = await fetch('/history', { signal: abort.signal, cache: 'no-store' });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    drawHistory(await answer.json());
  } catch (error) {
    write(byId('history-told'), `No newer history came: ${error.message}.`);
  } finally {
    clearTimeout(timer);
    setTimeout(askHistory, HISTORY_EVERY);
  }
}
