'use strict';
// From a status document to what is shown. Pure: no clock, no document.

/** An answer older than this, seconds, is no longer shown as the present. */
const STALE_AFTER = 3;
/** The verdict is judged each second; older than this, seconds, its loop stands. */
const FROZEN_AFTER = 6;

const HOPS = [
  { key: 'source', name: 'Source', card: 'source-title' },
  { key: 'stream', name: 'Stream', card: 'stream-title' },
  { key: 'publish', name: 'Publish', card: 'publish-title' },
  { key: 'delivery', name: 'Delivery', card: 'delivery-title' },
  { key: 'consumers', name: 'Consumers', card: 'consumers-title' },
];

/** The conditions that speak for a station; a checkpoint has none of the five. */
const CONDITIONS = {
  source: ['sql_admits', 'sql_answers', 'source_matches', 'source_writable', 'writes_commit', 'upstream_runs'],
  stream: ['begun', 'position_held', 'stream_connected', 'stream_bytes', 'heartbeat_seen', 'accounted', 'lag_small'],
  publish: ['sink_moves'],
  delivery: ['canaries_arrive'],
  consumers: ['canaries_arrive'],
  checkpoint: ['checkpoint_advances'],
};

const WORDS = {
  works: 'works', broken: 'broken here', late: 'late here', unknown: 'not known',
  waits: 'not judged', unwatched: 'not watched',
};

/** Halts of the stream that lie at the sink. */
const HALTED_AT_SINK = ['too_large', 'refused', 'sink_ended', 'quarantine'];

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

/** What a status says at a glance. `age`: of the answer, seconds. */
function conclude(status, age) {
  const verdict = status.verdict;
  const now = present(status, verdict);
  const unknown = { ...now, look: 'lost', icon: 'unknown', grade: 'not known', hop: 'none', headline: 'Quiet or out: not known',
    state: `was ${now.state}`, sentence: `The last that was said: ${now.headline}. ${now.sentence}` };
  if (age > STALE_AFTER) {
    return { ...unknown, cause: 'contact', runbook: null, next: 'Check that the binpulse process runs and that this address reaches it; then look at its log.' };
  }
  if (verdict.judged_age_seconds + age > FROZEN_AFTER) {
    return { ...unknown, cause: 'frozen', next: 'Restart binpulse: it goes on where it was. Keep its log.' };
  }
  return now;
}

const GRADES = {
  healthy: { look: 'works', icon: 'works', grade: 'healthy' },
  late: { look: 'late', icon: 'late', grade: 'late' },
  recovering: { look: 'late', icon: 'late', grade: 'recovering' },
  outage: { look: 'broken', icon: 'broken', grade: 'outage' },
  unknown: { look: 'unknown', icon: 'unknown', grade: 'not known' },
};

/** As of the answer. A halt is known at once, and outranks a verdict that has yet to see it. */
function present(status, verdict) {
  const { halted } = status;
  if (halted) {
    const at = verdict.hop !== 'none' && verdict.reason !== 'halted' ? verdict.hop : HALTED_AT_SINK.includes(halted.reason) ? 'publish' : 'stream';
    return { ...GRADES.outage, grade: `halted at ${at}`, hop: at, state: halted.reason, since: status.state_age_seconds,
      headline: 'The stream has halted and will not go on by itself', sentence: ended(halted.message), next: ended(capital(halted.mend)), runbook: '/runbooks/BinpulseHalted' };
  }
  const grade = GRADES[verdict.grade] || GRADES.unknown;
  const lost = verdict.unaccounted_transactions > 0 && grade === GRADES.healthy;
  const at = verdict.hop !== 'none' ? verdict.hop : verdict.state === 'checkpoint_stuck' ? 'checkpoint' : '';
  return { ...grade, grade: at ? `${grade.grade} at ${at}` : grade.grade, hop: verdict.hop, since: verdict.since_seconds,
    state: verdict.state + (verdict.reason ? ` (${verdict.reason})` : ''), headline: verdict.headline, sentence: evidence(verdict),
    next: lost ? 'Find out which rows are missing, and tell the consumers: rows flow again, but these do not come by themselves.' : verdict.next_step,
    runbook: lost ? '/runbooks/BinpulseUnaccountedTransactions' : runbookOf(verdict) };
}

/** Only a path of our own: what a status says must not lead elsewhere. */
function runbookOf(verdict) {
  return /^\/runbooks\/[A-Za-z]+$/.test(verdict.runbook || '') ? verdict.runbook : null;
}

/** What the sentence says beyond its headline. */
function evidence(verdict) {
  if (!verdict.sentence.startsWith(verdict.headline)) return verdict.sentence;
  const beyond = verdict.sentence.slice(verdict.headline.length).replace(/^[,:;. ]+/, '');
  return ended(PLAIN.test(beyond) ? capital(beyond) : beyond);
}

/** Words that may begin with a capital; any other may be a name, which stays as it is written. */
const PLAIN = /^(a|an|another|between|binary|by|every|it|its|messages|neither|no|nothing|permission|the|waiting|we) /;

function capital(text) {
  return text === '' ? '' : text[0].toUpperCase() + text.slice(1);
}

function ended(text) {
  return text === '' || /[.!?]$/.test(text) ? text : `${text}.`;
}

/** How each station stands: works, broken, late, unknown, waits or unwatched. */
function stationLooks(status, conclusion) {
  const watched = status.consumers.length > 0;
  const broken = HOPS.findIndex((hop) => hop.key === conclusion.hop);
  return HOPS.map((hop, at) => {
    if (conclusion.look === 'lost') return 'unknown';
    if (broken >= 0 && at === broken) return conclusion.look === 'late' ? 'late' : 'broken';
    if (!watched && (hop.key === 'delivery' || hop.key === 'consumers')) return 'unwatched';
    if (broken >= 0) return at < broken ? 'works' : 'waits';
    return byConditions(status, hop.key);
  });
}

/** Without a broken hop: what the conditions of the station say. */
function byConditions(status, key) {
  const conditions = status.verdict.conditions.filter((one) => CONDITIONS[key].includes(one.name) && one.needed);
  if (['starting', 'self_stalled'].includes(status.verdict.state)) return 'unknown';
  if (conditions.some((one) => one.status === 'false')) return 'broken';
  return conditions.every((one) => one.status === 'true') ? 'works' : 'unknown';
}

/** The part of the source's expiry below which somebody must act, as the alert has it. */
const MARGIN_LEAST = 0.25;

/** That the source will soon purge what is still needed; empty while there is time. */
function purgeWarning(status, drift) {
  const { purge_margin_seconds: margin, log_expiry_seconds: expiry } = status.progress;
  if (!isNumber(margin) || !isNumber(expiry) || margin - drift >= MARGIN_LEAST * expiry) return '';
  const left = margin > drift ? `In ${duration(margin - drift)} the source may purge` : 'The source may purge at any time';
  return `${left} binary logs that are not delivered yet: then rows are lost. Lengthen binlog_expire_logs_seconds on the source now (it keeps logs for ${duration(expiry)}), and mend what holds delivery up.`;
}

/** Who echoes, who does not, and who is not judged. */
function echoes(status) {
  const { consumers, verdict } = status;
  const silent = verdict.state === 'canary_lost' && verdict.reason ? verdict.reason.split(',') : [];
  const resting = consumers.filter((one) => isNumber(one.maintenance_seconds_left)).map((one) => one.name);
  const echo = consumers.filter((one) => isNumber(one.last_age_seconds) && !silent.includes(one.name) && !resting.includes(one.name));
  const lost = consumers.reduce((sum, one) => sum + one.lost, 0);
  const first = `${echo.length} of ${consumers.length} ${echo.length === 1 ? 'echoes' : 'echo'}`;
  const blind = consumers.filter((one) => one.unreadable).map((one) => one.name);
  if (silent.length > 0) return [first, `silent: ${silent.join(', ')}`];
  if (blind.length > 0) return [first, `queue can't be read: ${blind.join(', ')}`];
  if (resting.length > 0) return [first, `in maintenance: ${resting.join(', ')}`];
  return [first, `${number(lost)} ${lost === 1 ? 'canary' : 'canaries'} lost`];
}

/** What happened how long ago, or that it has not happened yet. */
function last(what, age, drift) {
  return isNumber(age) ? `${what} ${ago(age, drift)}` : `not ${what} yet`;
}

/** Two lines of figures for each station. */
function stationTexts(status, drift, rate) {
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
    consumers: consumers.length === 0 ? unwatched : echoes(status),
  };
}

/** The whole in plain text, for a chat or a ticket. */
function report(status, conclusion, at) {
  const lines = [
    `binpulse ${status.stream}, ${conclusion.grade}: ${conclusion.headline} [${conclusion.state}] at ${at}`,
    conclusion.sentence,
    ...status.verdict.facts.map((fact) => `- ${fact}`),
    `Next: ${conclusion.next}`,
    ...(conclusion.runbook ? [`Runbook: ${conclusion.runbook}`] : []),
    `For ${duration(conclusion.since)}. Source: ${status.source.host} ${status.source.flavor} ${status.source.version} ${status.source.server_uuid}`,
    `Read: ${status.progress.read}. Delivered: ${status.progress.delivered}.`,
    `Checkpoint: ${status.checkpoint.place}, saved ${ago(status.checkpoint.age_seconds, 0)}.`,
  ];
  return lines.join('\n');
}
