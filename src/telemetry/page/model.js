'use strict';
// From a status document to figures that tick. Pure: no clock, no document. What a status means, the
// program says itself, in `conclusion`.

/** An answer older than this, seconds, is no longer shown as the present. */
const STALE_AFTER = 3;

function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

/** A duration in words of one width while it ticks. */
function duration(seconds) {
  if (!isNumber(seconds)) return 'never';
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  const two = (n) => String(Math.floor(n)).padStart(2, '0');
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${two((s % 86400) / 3600)} h`;
}

/** An age that has gone on for `drift` seconds since it was told. */
function ago(age, drift) {
  if (!isNumber(age)) return 'never';
  const s = Math.max(0, age + drift);
  return s < 1 ? 'just now' : `${duration(s)} ago`;
}

function bytes(count) {
  if (!isNumber(count)) return '-';
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let [n, unit] = [count, 0];
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

function number(count) {
  return isNumber(count) ? count.toLocaleString('en') : '-';
}

/** Changes and messages per second between two answers. */
function rates(older, newer) {
  const seconds = newer.at - older.at;
  if (!(seconds > 0.2)) return null;
  const per = (field) => Math.max(0, (newer.status.progress[field] - older.status.progress[field]) / seconds);
  return { changes: per('changes_published'), messages: per('messages_published'), seconds };
}

/** What is no longer known. */
function unknown(one) {
  return { ...one, indicator: 'unknown', word: 'not known' };
}

/**
 * What the program concluded, or that nothing is known: only the page can tell that no answer came.
 * `age`: of the answer, seconds.
 */
function conclude(status, age) {
  const said = status.conclusion;
  if (age > STALE_AFTER) {
    return { ...said, cause: 'contact', indicator: 'lost', label: 'not known', hop: 'none', headline: 'Quiet or down: not known',
      state: `was ${said.state}`, evidence: `The last verdict was: ${said.headline}. ${said.evidence}`, runbook: null, after: '',
      next_step: 'Check that the binpulse process runs and that this address reaches it; then look at its log.',
      stations: said.stations.map(unknown), consumers: said.consumers.map((one) => ({ ...unknown(one), members: one.members.map(unknown) })) };
  }
  return said.is_frozen ? { ...said, cause: 'frozen', indicator: 'lost' } : said;
}

/** Only a path of our own: what a status says must not lead elsewhere. */
function own(path) {
  return /^\/runbooks\/[A-Za-z]+$/.test(path || '') ? path : null;
}

/** The first names, and how many others there are. */
function few(names) {
  const more = names.length - NAMES_MAX;
  const told = names.slice(0, NAMES_MAX).join(', ');
  return more > 0 ? `${told} and ${more} ${more === 1 ? 'other' : 'others'}` : told;
}

/** Who echoes, who does not, and who is not evaluated. */
function echoes(status, conclusion) {
  const members = conclusion.consumers.flatMap((group) => group.members);
  const named = (word) => members.filter((one) => one.word === word).map((one) => one.name);
  // A consumer of which all paths do so is named once.
  const told = (word) => few(conclusion.consumers.flatMap((one) => (one.members.every((member) => member.word === word)
    ? [one.members.length === 1 ? one.members[0].name : one.name] : one.members.filter((member) => member.word === word).map((member) => member.name))));
  const echo = members.length - ['silent', 'in maintenance', 'no canary yet', 'not known'].reduce((sum, word) => sum + named(word).length, 0);
  const lost = status.consumers.reduce((sum, one) => sum + one.lost, 0);
  const first = `${echo} of ${members.length} ${echo === 1 ? 'echoes' : 'echo'}`;
  const [silent, blind, resting] = [named('silent'), named("queue can't be read"), named('in maintenance')];
  if (silent.length > 0) return [first, `silent: ${told('silent')}`];
  if (blind.length > 0) return [first, `queue can't be read: ${told("queue can't be read")}`];
  if (resting.length > 0) return [first, `in maintenance: ${told('in maintenance')}`];
  return [first, `${number(lost)} ${lost === 1 ? 'canary' : 'canaries'} lost`];
}

/** Rows of a table that are shown; the others are counted, and a filter finds them. */
const ROWS_MAX = 10;
const NAMES_MAX = 3;

/** Figures of each consumer by its name. Made once for an answer. */
const figures = new WeakMap();
function consumerOf(status, name) {
  if (!figures.has(status)) figures.set(status, new Map(status.consumers.map((one) => [one.name, one])));
  return figures.get(status).get(name);
}

function matches(name, wanted) {
  return name.toLowerCase().includes(wanted.trim().toLowerCase());
}

/** Consumers, worst first, with the members of those in `open`; with a filter, what it finds. */
function consumerRows(status, conclusion, wanted, open) {
  const member = (one) => ({ ...one, level: 'member', text: '', count: 1, ...figuresOf(consumerOf(status, one.name)) });
  const group = (one) => ({ ...one, level: 'group', count: one.members.length,
    ...(one.members.length === 1 ? member(one.members[0]) : { last: one.last_age_seconds, number: null, lost: one.lost }), level: 'group', text: one.text });
  if (wanted.trim()) {
    const found = conclusion.consumers.flatMap((one) => one.members).filter((one) => matches(one.name, wanted));
    return { rows: found.slice(0, ROWS_MAX).map((one) => ({ ...member(one), level: 'group' })), more: Math.max(0, found.length - ROWS_MAX) };
  }
  const rows = conclusion.consumers.slice(0, ROWS_MAX).flatMap((one) => [group(one), ...(open.has(one.name) ? one.members.map(member) : [])]);
  return { rows, more: Math.max(0, conclusion.consumers.length - ROWS_MAX) };
}

function figuresOf(one) {
  return one ? { last: one.last_age_seconds, number: one.last, lost: one.lost, left: one.maintenance_seconds_left } : { last: null, number: null, lost: 0 };
}

/** `and 90 more`, with what finds them. */
function andMore(count, how) {
  return count > 0 ? `and ${number(count)} more${how}` : '';
}

/** What happened how long ago, or that it has not happened yet. */
function last(what, age, drift) {
  return isNumber(age) ? `${what} ${ago(age, drift)}` : `not ${what} yet`;
}

/** Tables of a snapshot that are shown; the others are counted. */
const SNAPSHOT_TABLES_MAX = 10;

/** Those that are read first, then those given up, then the next ones. */
function snapshotTables(snapshot) {
  const order = ['reading', 'abandoned', 'waiting', 'done'];
  const tables = snapshot.tables.map((one, at) => ({ ...one, at, rank: order.indexOf(one.state) }));
  return tables.sort((a, b) => a.rank - b.rank || a.at - b.at).slice(0, SNAPSHOT_TABLES_MAX);
}

/** How much of a table was read, 0 to 1; null when the statistics do not tell. Only `done` is all. */
function share(table) {
  if (table.state === 'done') return 1;
  if (table.state === 'waiting') return 0;
  return table.rows_estimated > 0 ? Math.min(0.99, table.rows / table.rows_estimated) : null;
}

/** `threads_running` as people write it. */
function spaced(word) {
  return word ? word.replaceAll('_', ' ') : 'nothing';
}

/** Two lines of figures for each station. */
function stationTexts(status, conclusion, drift, rate) {
  const { source, heartbeat, sink, consumers, canary } = status;
  const echoed = consumers.filter((one) => isNumber(one.last_age_seconds));
  const newest = Math.min(...echoed.map((one) => one.last_age_seconds));
  const failed = heartbeat.last_result !== 'ok' && heartbeat.last_result !== 'none yet';
  const pending = isNumber(sink.oldest_pending_age_seconds) ? sink.oldest_pending_age_seconds + drift : 0;
  const unwatched = ['no consumer echoes canaries', ''];
  return {
    source: [source.host || 'not reached so far', failed ? `write failed: ${heartbeat.last_result.split(':')[0]}` : `heartbeat ${last('written', heartbeat.written_age_seconds, drift)}`],
    stream: [status.state === 'running' ? `${source.connected ? 'connected' : 'not connected'}` : status.state, `heartbeat ${last('seen', heartbeat.seen_age_seconds, drift)}`],
    publish: [pending > 1 ? `oldest waits ${duration(pending)}` : last('accepted', sink.last_accept_age_seconds, drift), rate ? `${rate.changes.toFixed(1)} changes/s` : 'measuring the rate'],
    delivery: consumers.length === 0 ? unwatched : [isNumber(canary.seen) ? `canary ${canary.seen} is the newest` : 'no canary yet', last('back', echoed.length > 0 ? newest : null, drift)],
    consumers: consumers.length === 0 ? unwatched : echoes(status, conclusion),
  };
}

/** The whole in plain text, for a chat or a ticket. `age`: of the answer, seconds. */
function report(status, conclusion, at, age) {
  const lost = conclusion.cause === 'contact';
  const lines = [
    `binpulse ${status.stream}, ${conclusion.label}: ${conclusion.headline} [${conclusion.state}] at ${at}`,
    ...(lost ? [`No answer for ${duration(age)}: what follows is from the last answer.`] : []),
    conclusion.evidence,
    ...status.verdict.facts.map((fact) => `- ${fact}`),
    ...conclusion.notices.map((one) => `- ${one.text} ${one.next_step}`),
    ...status.findings.filter((one) => one.level === 'note').map((one) => `- ${one.what}: ${one.found}`),
    `Next: ${conclusion.next_step}`,
    ...(own(conclusion.runbook) ? [`Runbook: ${status.url}${conclusion.runbook}`] : []),
    ...status.next.places.map((one) => `${one.what}: ${one.value}`),
    ...status.next.links.map((one) => `${one.name}: ${one.url}`),
    `For ${duration(conclusion.since_seconds)}${lost ? ' then' : ''}. Source: ${status.source.host} ${status.source.flavor} ${status.source.version} ${status.source.server_uuid}`,
    `Read: ${status.progress.read}. Delivered: ${status.progress.delivered}.`,
    `Checkpoint: ${status.checkpoint.place}, ${lost ? 'last known to be saved' : 'saved'} ${ago(status.checkpoint.age_seconds, age)}.`,
  ];
  return lines.join('\n');
}
