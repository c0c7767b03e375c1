// The document. Whatever comes from outside is set as text, never as markup.

const byId = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

/** Sets only what differs, so that a selection survives the next second. */
function write(node, text) {
  const next = text === null || text === undefined ? '' : String(text);
  if (node.textContent !== next) node.textContent = next;
}

function setIndicator(node, name) {
  if (node.dataset.indicator !== name) node.dataset.indicator = name;
}

function setIcon(use, name) {
  const href = `#icon-${name}`;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

function make(tag, className) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  return node;
}

/** As many children as there are items, reused. */
function sized(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create());
}

function station(one) {
  const item = make('li');
  const link = make('a', 'station');
  link.href = `#${one.key}-title`;
  link.id = `station-${one.key}`;
  const icon = document.createElementNS(SVG, 'svg');
  icon.setAttribute('class', 'icon');
  icon.setAttribute('aria-hidden', 'true');
  icon.append(document.createElementNS(SVG, 'use'));
  link.append(icon, make('span', 'label'), make('span', 'word'), make('span', 'text'), make('span', 'text'));
  item.append(link);
  return item;
}

function drawLine(status, conclusion, drift, rate) {
  const line = byId('line');
  const stations = conclusion.stations.filter((one) => one.key !== 'checkpoint');
  if (line.children.length !== stations.length) line.replaceChildren(...stations.map(station));
  const texts = stationTexts(status, conclusion, drift, rate);
  stations.forEach((one, at) => {
    const item = line.children[at];
    setIndicator(item, one.indicator);
    if (one.key === conclusion.hop) item.setAttribute('aria-current', 'step');
    else item.removeAttribute('aria-current');
    setIcon(item.querySelector('use'), one.indicator);
    write(item.querySelector('.label'), one.name);
    write(item.querySelector('.word'), one.word);
    item.querySelectorAll('.text').forEach((node, row) => write(node, texts[one.key][row]));
  });
  write(byId('line-words'), conclusion.after);
  const siding = byId('siding');
  const saved = conclusion.stations.find((one) => one.key === 'checkpoint') || { indicator: 'unknown', word: 'not known' };
  setIndicator(siding, saved.indicator);
  setIcon(siding.querySelector('use'), saved.indicator);
  write(siding.querySelector('.word'), saved.word);
  write(siding.querySelector('.text'), `saved ${ago(status.checkpoint.age_seconds, drift)}`);
}

/** Commands, each with a button that copies it. */
function drawCommands(list, commands) {
  sized(list, commands.length, () => {
    const item = make('li');
    const button = make('button');
    button.type = 'button';
    item.append(make('span', 'purpose'), make('code'), button);
    return item;
  });
  commands.forEach((one, at) => {
    const [purpose, code, button] = list.children[at].children;
    write(purpose, one.purpose ? `${one.purpose}:` : '');
    write(code, one.command);
    if (button.textContent !== 'copied') write(button, 'Copy');
    const spoken = `Copy: ${one.command}`;
    if (button.getAttribute('aria-label') !== spoken) button.setAttribute('aria-label', spoken);
  });
}

/** Commands that are shown in full; more are folded. */
const COMMANDS_MAX = 2;

/** Addresses of the settings lead to pages and nowhere else. */
function isPage(url) {
  return /^https?:\/\//.test(url);
}

function drawNext(next) {
  drawList(byId('places'), next.places.map((one) => [one.what, one.value]));
  const [box, count] = [byId('commands-box'), next.commands.length];
  // Many are folded: the way of a row stays in sight. What somebody has opened stays open.
  if (byId('commands').children.length !== count) box.open = count <= COMMANDS_MAX;
  box.hidden = count === 0;
  write(byId('commands-count'), count === 1 ? '1 command for this' : `${count} commands for this`);
  drawCommands(byId('commands'), next.commands);
  drawCommands(byId('snapshot-commands'), next.snapshot);
  drawCommands(byId('operations'), next.operations);
  const links = next.links.filter((one) => isPage(one.url));
  sized(byId('links'), links.length, () => { const link = make('a'); link.rel = 'noopener noreferrer'; link.target = '_blank'; return link; });
  links.forEach((one, at) => {
    const link = byId('links').children[at];
    write(link, one.name);
    if (link.getAttribute('href') !== one.url) link.setAttribute('href', one.url);
  });
}

/** Notices that are shown in full; the others are folded. */
const NOTICES_MAX = 2;

/** What needs attention whatever the verdict is. */
function drawNotices(notices) {
  drawNoticeList(byId('notices'), notices.slice(0, NOTICES_MAX));
  const rest = notices.slice(NOTICES_MAX);
  byId('notices-box').hidden = rest.length === 0;
  write(byId('notices-count'), `${rest.length} more need attention: ${rest.map((one) => one.headline).slice(0, NOTICES_MAX).join('; ')}${rest.length > NOTICES_MAX ? '; ...' : ''}`);
  drawNoticeList(byId('notices-more'), rest);
}

function drawNoticeList(list, notices) {
  sized(list, notices.length, () => { const item = make('li', 'alarm'); item.append(make('span', 'text'), ' ', make('a'), make('ul', 'commands')); return item; });
  notices.forEach((one, at) => {
    const item = list.children[at];
    if (item.dataset.kind !== one.kind) item.dataset.kind = one.kind;
    write(item.querySelector('.text'), `${one.text} ${one.next_step}`);
    const link = item.querySelector('a');
    link.hidden = !own(one.runbook);
    if (own(one.runbook)) link.setAttribute('href', one.runbook);
    write(link, 'Runbook');
    drawCommands(item.lastElementChild, one.commands);
  });
}

function drawList(list, pairs) {
  sized(list, pairs.length * 2, () => make(list.children.length % 2 === 0 ? 'dt' : 'dd'));
  pairs.forEach(([name, value], at) => {
    write(list.children[at * 2], name);
    write(list.children[at * 2 + 1], value === '' || value === null || value === undefined ? '-' : value);
  });
}

/** Each row is a list of cells; a cell is a text, or a text with an indicator. */
function drawTable(body, rows) {
  sized(body, rows.length, () => make('tr'));
  rows.forEach((cells, at) => {
    const row = body.children[at];
    sized(row, cells.length, () => make('td'));
    cells.forEach((cell, column) => {
      const [text, tone] = Array.isArray(cell) ? cell : [cell, ''];
      write(row.children[column], text);
      setIndicator(row.children[column], tone);
    });
  });
}

function drawVerdict(conclusion, drift) {
  setIndicator(document.body, conclusion.indicator);
  setIcon(byId('verdict-icon'), conclusion.indicator === 'lost' ? 'unknown' : conclusion.indicator);
  write(byId('grade'), conclusion.label);
  write(byId('state'), conclusion.state);
  write(byId('headline'), conclusion.headline);
  write(byId('sentence'), conclusion.evidence);
  write(byId('next'), conclusion.next_step);
  const runbook = own(conclusion.runbook);
  byId('runbook').hidden = !runbook;
  if (runbook) byId('runbook').setAttribute('href', runbook);
  drawNotices(conclusion.notices);
  const since = conclusion.since_seconds + drift;
  const began = new Date(Date.now() - since * 1000);
  write(byId('since'), conclusion.indicator === 'lost' ? '' : `Since ${clock(began)}, for ${duration(since)}.`);
}

/** A time of day here and, where that differs, in UTC: logs are in UTC. With its date unless that is today. */
function clock(date) {
  const now = new Date();
  const local = (of) => `${of.getFullYear()}-${String(of.getMonth() + 1).padStart(2, '0')}-${String(of.getDate()).padStart(2, '0')}`;
  const day = (of, today) => (of === today ? '' : `${of} `);
  const here = day(local(date), local(now)) + date.toTimeString().slice(0, 8);
  const [utcDay, utcTime] = date.toISOString().slice(0, 19).split('T');
  const utc = day(utcDay, now.toISOString().slice(0, 10)) + utcTime;
  return here === utc ? `${utc} UTC` : `${here} here, ${utc} UTC`;
}

/** Names of consumers whose paths are shown. */
const openGroups = new Set();

function consumerRow() {
  const row = make('tr');
  const name = make('td');
  const fold = make('button', 'fold');
  fold.type = 'button';
  name.append(fold, make('span', 'label'));
  row.append(name, ...Array.from({ length: 3 }, () => make('td')));
  return row;
}

/** Worst first. What the filter leaves out is counted. */
function drawConsumers(status, conclusion, drift) {
  const wanted = byId('filter').value;
  const { rows, more } = consumerRows(status, conclusion, wanted, openGroups);
  byId('filter-box').hidden = status.consumers.length <= ROWS_MAX;
  byId('no-consumers').hidden = status.consumers.length > 0;
  write(byId('consumers-text'), status.consumers.length > 0 ? `${conclusion.consumers_text}.` : '');
  const body = byId('consumers');
  sized(body, rows.length, consumerRow);
  rows.forEach((one, at) => {
    const row = body.children[at];
    const [name, does, last, lost] = row.children;
    if (row.dataset.level !== one.level) row.dataset.level = one.level;
    const [fold, label] = name.children;
    fold.hidden = one.count < 2;
    if (fold.dataset.name !== one.name) fold.dataset.name = one.name;
    const isOpen = String(openGroups.has(one.name));
    if (fold.getAttribute('aria-expanded') !== isOpen) fold.setAttribute('aria-expanded', isOpen);
    write(fold, isOpen === 'true' ? '\u2212' : '+');
    const spoken = `Paths of ${one.name}`;
    if (fold.getAttribute('aria-label') !== spoken) fold.setAttribute('aria-label', spoken);
    write(label, isNumber(one.left) ? `${one.name}, in maintenance for ${duration(one.left - drift)}` : one.name);
    write(does, one.text ? `${one.word}: ${one.text}` : one.word);
    setIndicator(does, one.indicator === 'works' ? '' : one.indicator);
    write(last, isNumber(one.last) ? `${isNumber(one.number) ? `canary ${one.number}, ` : ''}${ago(one.last, drift)}` : 'never');
    write(lost, number(one.lost));
    setIndicator(lost, one.lost > 0 ? 'broken' : '');
  });
  write(byId('consumers-more'), andMore(more, wanted.trim() ? ': a longer name finds fewer' : ', which do as well or better: the filter finds them'));
}

/** The newest canaries of each consumer side by side. */
function drawCanaries(status, conclusion, drift) {
  const wanted = byId('filter').value;
  const names = conclusion.consumers.flatMap((one) => one.members).filter((one) => matches(one.name, wanted)).map((one) => one.name);
  const tones = { lost: 'broken', late: 'late' };
  const words = { resolved: '', lost: 'LOST', late: 'late', awaited: 'awaited', not_evaluated: 'not evaluated' };
  const cell = (one) => {
    if (!one) return '';
    const took = isNumber(one.took_seconds) ? duration(one.took_seconds) : '';
    const said = [words[one.state] ?? one.state, took].filter((part) => part !== '').join(' ');
    return [`${one.number}: ${said}, ${ago(one.age_seconds, drift)}`, tones[one.state] || ''];
  };
  drawTable(byId('canaries'), names.slice(0, ROWS_MAX).map((name) => {
    const { recent } = consumerOf(status, name) || { recent: [] };
    const byTime = [...recent].sort((a, b) => a.age_seconds - b.age_seconds);
    return [name, ...Array.from({ length: 6 }, (_, at) => cell(byTime[at]))];
  }));
  write(byId('canaries-more'), andMore(names.length - ROWS_MAX, ''));
}

function drawCertificate(verdict) {
  const one = verdict.certificate;
  const lost = verdict.unaccounted_transactions;
  if (!one) {
    write(byId('certificate-words'), 'None yet: it needs two heartbeats that came back, and an account of all transactions between them.');
    drawList(byId('certificate'), []);
    return;
  }
  write(byId('certificate-words'), one.complete
    ? `Proven: between heartbeats ${one.from_heartbeat} and ${one.to_heartbeat} every transaction of the source is accounted for.`
    : `NOT proven: between heartbeats ${one.from_heartbeat} and ${one.to_heartbeat} the source has transactions that the stream did not deliver.`);
  drawList(byId('certificate'), [
    ['From', one.from], ['To', one.to],
    ['Users\u2019 transactions', number(one.user)], ['Filtered', number(one.filtered)],
    ['Heartbeats', number(one.heartbeat)], ['Canaries', number(one.canary)],
    ['Missing', one.complete ? 'none' : one.unaccounted],
    ['Missing since start', number(lost)],
  ]);
}

/** The rows that are already there, if somebody asked for them. */
function drawSnapshot(snapshot, drift) {
  byId('snapshot-card').hidden = !snapshot;
  if (!snapshot) return;
  const done = snapshot.tables.filter((one) => one.state === 'done').length;
  const runs = snapshot.state === 'running';
  drawList(byId('snapshot'), [
    ['State', isNumber(snapshot.stalled_seconds) ? `${snapshot.state}, but no chunk for ${duration(snapshot.stalled_seconds + drift)}` : snapshot.state],
    ['For', snapshot.audience || 'all'],
    ['Tables done', `${number(done)} of ${number(snapshot.tables.length)}`],
    ['Rows published', number(snapshot.rows)],
    ['Rate', runs ? `${number(Math.round(snapshot.rows_per_second))} rows/s` : '-'],
    ['Time left', runs && isNumber(snapshot.seconds_left) ? `about ${duration(snapshot.seconds_left - drift)}` : '-'],
    ['Waits for', spaced(snapshot.waits_for)], ['Reason', snapshot.reason], ['Id', snapshot.id],
  ]);
  const tables = snapshotTables(snapshot);
  const body = byId('snapshot-tables');
  sized(body, tables.length, () => {
    const row = make('tr');
    row.append(...Array.from({ length: 5 }, () => make('td')));
    row.children[2].append(make('progress'));
    return row;
  });
  tables.forEach((one, at) => {
    const [name, state, read, rows, reason] = body.children[at].children;
    const bar = read.firstChild;
    const part = share(one);
    write(name, `${one.database}.${one.table}`);
    write(state, one.state === 'abandoned' ? 'given up' : one.state);
    setIndicator(state, one.state === 'abandoned' ? 'broken' : '');
    if (part === null) bar.removeAttribute('value');
    else bar.value = part;
    bar.setAttribute('aria-label', part === null ? 'not known' : `${Math.floor(part * 100)} %`);
    write(rows, isNumber(one.rows_estimated) ? `${number(one.rows)} of about ${number(one.rows_estimated)}` : number(one.rows));
    write(reason, one.reason);
  });
  const more = snapshot.tables.length - tables.length;
  write(byId('snapshot-more'), more > 0 ? `and ${number(more)} more` : '');
}

function leaseWords(lease, drift) {
  if (!lease || lease.role === 'none') return 'none';
  if (lease.role === 'active') return `active, renewed ${ago(lease.age_seconds, drift)}`;
  return isNumber(lease.age_seconds)
    ? `STANDBY of ${lease.host} (${lease.address}), lease age ${duration(lease.age_seconds + drift)}`
    : 'STANDBY, and no process has the lease';
}

/** The settings that are in the document now. */
let shownConfig = null;

/** Findings that are shown. */
const FINDINGS_MAX = 20;

function drawCards(status, conclusion, drift, rate) {
  const { source, progress, heartbeat, canary, sink, checkpoint, verdict } = status;
  sized(byId('facts'), Math.max(1, verdict.facts.length), () => make('li'));
  const facts = verdict.facts.length > 0 ? verdict.facts : ['Every condition that is needed holds.'];
  facts.forEach((fact, at) => write(byId('facts').children[at], fact));
  drawTable(byId('conditions'), verdict.conditions.map((one) => [
    one.name + (one.needed ? '' : ' (for information)'),
    [{ true: 'yes', false: 'NO', unknown: 'not known' }[one.status] || one.status, one.needed && one.status === 'false' ? 'broken' : ''],
    duration(one.since_seconds + drift), one.because]));
  drawCertificate(verdict);
  drawList(byId('source'), [
    ['Address', source.host], ['Server', `${source.flavor} ${source.version}`.trim()],
    ['Server UUID', source.server_uuid], ['Server id', source.server_id || '-'],
    ['Last heartbeat write', heartbeat.last_result],
    ['Written', `${heartbeat.written ?? 'none'}, ${ago(heartbeat.written_age_seconds, drift)}`],
  ]);
  drawList(byId('progress'), [
    ['State', `${status.state} for ${duration(status.state_age_seconds + drift)}`],
    ['Connection', source.connected ? 'up' : 'down'],
    ['Lease', leaseWords(status.lease, drift)],
    ['Heartbeat seen', `${heartbeat.seen ?? 'none'}, ${ago(heartbeat.seen_age_seconds, drift)}`],
    ['Its round trip', isNumber(heartbeat.roundtrip_seconds) ? duration(heartbeat.roundtrip_seconds) : '-'],
    ['Read up to', progress.read], ['Delivered up to', progress.delivered],
    ['Lag', isNumber(progress.lag_seconds) ? duration(progress.lag_seconds) : '-'],
    ['Newest commit read', isNumber(progress.newest_commit_age_seconds) ? ago(progress.newest_commit_age_seconds, drift) : '-'],
    ['GTIDs delivered', progress.gtid_set],
    ['Needed logs are kept for', isNumber(progress.purge_margin_seconds) ? `${duration(progress.purge_margin_seconds - drift)} of ${duration(progress.log_expiry_seconds)}` : '-'],
  ]);
  drawList(byId('sink'), [
    ['To', `${sink.kind}, ${sink.up ? 'accepting' : 'NOT accepting'}`],
    ['Last accepted', ago(sink.last_accept_age_seconds, drift)],
    ['Oldest waiting', isNumber(sink.oldest_pending_age_seconds) ? duration(sink.oldest_pending_age_seconds + drift) : 'nothing waits'],
    ['Queue', `${bytes(sink.queue_bytes)} of ${bytes(sink.queue_capacity_bytes)}`],
    ['Last error', sink.last_error || 'none'],
    ['Rate', rate ? `${rate.changes.toFixed(1)} changes/s, ${rate.messages.toFixed(1)} messages/s over ${duration(rate.seconds)}` : '-'],
    ['Since start', `${number(progress.changes_published)} changes in ${number(progress.messages_published)} messages, ${number(progress.lanes)} lanes`],
  ]);
  drawList(byId('checkpoint'), [
    ['Kept in', checkpoint.place], ['Saved', ago(checkpoint.age_seconds, drift)],
    ['Failed saves', number(checkpoint.failures)], ['Epoch', checkpoint.epoch],
  ]);
  write(byId('canary-words'), `Last written: ${canary.written ?? 'none'}, ${ago(canary.written_age_seconds, drift)} (${canary.last_result}). Last seen on the stream: ${canary.seen ?? 'none'}, ${ago(canary.seen_age_seconds, drift)}.`);
  drawConsumers(status, conclusion, drift);
  drawCanaries(status, conclusion, drift);
  drawSnapshot(status.snapshot, drift);
  byId('paths-card').hidden = status.paths.length === 0;
  const paths = [...status.paths].sort((a, b) => b.failing - a.failing).filter((one) => matches(one.name, byId('filter').value));
  write(byId('paths-more'), andMore(paths.length - ROWS_MAX, ''));
  drawTable(byId('paths'), paths.slice(0, ROWS_MAX).map((one) => [one.name, `${one.table}.${one.column}`,
    [one.canary.last_result, one.failing ? 'broken' : ''], `${one.canary.written ?? 'none'}, ${ago(one.canary.written_age_seconds, drift)}`,
    `${one.canary.seen ?? 'none'}, ${ago(one.canary.seen_age_seconds, drift)}`]));
  byId('findings-card').hidden = status.findings.length === 0;
  const levels = { warning: 'late', refusal: 'broken' };
  write(byId('findings-more'), andMore(status.findings.length - FINDINGS_MAX, ': see /status'));
  drawTable(byId('findings'), status.findings.slice(0, FINDINGS_MAX).map((one) => [one.what, [one.level, levels[one.level] || ''], one.found, one.needed, one.remedy]));
  if (shownConfig !== status.config) {
    shownConfig = status.config;
    write(byId('config'), JSON.stringify(status.config, null, 2));
  }
  write(byId('about'), `binpulse ${status.version}, up for ${duration(status.uptime_seconds + drift)}`);
}

const GLYPHS = { works: '\u2713', broken: '\u2715', late: '!', unknown: '?', lost: '?' };
const SHAPES = {
  works: ['%230a6b45', '%3Ccircle cx="8" cy="8" r="8"/%3E'], late: ['%23d98a00', '%3Cpath d="M8 0l8 15H0z"/%3E'],
  broken: ['%23d0142f', '%3Crect width="16" height="16"/%3E'], unknown: ['%23747b88', '%3Crect x="2" y="2" width="12" height="12" rx="4"/%3E'],
  lost: ['%23000', '%3Cpath d="M0 0h16v16H0zM4 4v8h8V4z" fill-rule="evenodd"/%3E'],
};

function drawTab(stream, conclusion) {
  const title = `${GLYPHS[conclusion.indicator]} ${conclusion.headline} \u00b7 ${stream}`;
  if (document.title !== title) document.title = title;
  const [fill, shape] = SHAPES[conclusion.indicator];
  const icon = `data:image/svg+xml,%3Csvg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="${fill}"%3E${shape}%3C/svg%3E`;
  if (byId('favicon').getAttribute('href') !== icon) byId('favicon').setAttribute('href', icon);
}
