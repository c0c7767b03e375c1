// Asks each second, ticks in between, and says so when no answer comes.

const POLL_EVERY = 1000;
const POLL_TIMEOUT = 2500;
const RATE_WINDOW = 10;
const SEEN_MAX = 30;

const calm = matchMedia('(prefers-reduced-motion: reduce)');
/** Answers of the last seconds, oldest first: { at, wall, status }. */
const answers = [];
const opened = seconds();
let failure = '';
let announced = '';
let pollTimer = 0;
let asking = false;

/** Seconds that passed. A suspended machine's monotonic clock may stand still, its wall clock does not. */
function seconds() {
  return performance.now() / 1000;
}

function ageOf(answer) {
  return Math.max(seconds() - answer.at, (Date.now() - answer.wall) / 1000);
}

async function poll() {
  if (asking) return;
  asking = true;
  clearTimeout(pollTimer);
  const started = seconds();
  const wall = Date.now();
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), POLL_TIMEOUT);
  try {
    const answer = await fetch('/status', { signal: abort.signal, cache: 'no-store' });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const status = await answer.json();
    conclude(status, 0);
    // As old as the question: no answer is ever shown younger than it is.
    answers.push({ at: started, wall, status });
    while (answers.length > 2 && started - answers[0].at > RATE_WINDOW) answers.shift();
    failure = '';
  } catch (error) {
    failure = error.name === 'AbortError' ? `no answer within ${POLL_TIMEOUT / 1000} s` : error.message;
  } finally {
    clearTimeout(timer);
    asking = false;
    pollTimer = setTimeout(poll, Math.max(100, POLL_EVERY - (seconds() - started) * 1000));
    draw();
  }
}

function draw() {
  const last = answers[answers.length - 1];
  if (!last) {
    const waited = seconds() - opened;
    if (waited > STALE_AFTER) alarm(`No answer from binpulse for ${duration(waited)}`, `None since this page was opened: ${failure || 'waiting'}.`);
    return;
  }
  const age = ageOf(last);
  const conclusion = conclude(last.status, age);
  const rate = answers.length > 1 && conclusion.indicator !== 'lost' ? rates(answers[0], last) : null;
  // What is no longer known does not tick on as if it were.
  const silent = conclusion.cause === 'contact';
  const drift = silent ? 0 : age;
  write(byId('stream'), last.status.stream);
  write(byId('contact'), silent ? `Last answer ${ago(age, 0)}` : `Live: answered ${age < 1 ? 'just now' : ago(age, 0)}`);
  if (conclusion.cause === 'frozen') alarm(`No verdict for ${duration(last.status.verdict.evaluated_age_seconds + age)}`, 'binpulse answers, but the loop of its verdict is stuck. Figures are live, the verdict is not.');
  else if (silent) alarm(`No answer from binpulse for ${duration(age)}`, `All below is from ${clock(new Date(last.wall))}, not from now (${failure || 'waiting'}).`);
  else byId('alarm').hidden = true;
  drawVerdict(conclusion, drift);
  // What a service that is gone asked for is not what helps now.
  drawNext(silent ? { ...last.status.next, places: [], commands: [], snapshot: [] } : last.status.next);
  drawLine(last.status, conclusion, drift, rate);
  drawCards(last.status, conclusion, drift, rate);
  drawTab(last.status.stream, conclusion);
  announce(conclusion);
}

function alarm(head, text) {
  setIndicator(document.body, 'lost');
  byId('alarm').hidden = false;
  write(byId('alarm-head'), head);
  write(byId('alarm-text'), text);
}

/** Tells a screen reader, and the list, what has changed; never what merely ticks. */
function announce(conclusion) {
  const key = [conclusion.headline, conclusion.label, conclusion.state, conclusion.cause].join('\n');
  if (key === announced) return;
  announced = key;
  const gone = { contact: 'binpulse does not answer. ', frozen: 'binpulse answers, but no longer evaluates the verdict. ' }[conclusion.cause] || '';
  write(byId('announcer'), `${gone}${conclusion.label}: ${conclusion.headline}. ${conclusion.evidence} Next: ${conclusion.next_step}`);
  const line = make('li');
  write(line, `${clock(new Date())}: ${gone}${conclusion.label}: ${conclusion.headline} [${conclusion.state}]`);
  byId('seen').prepend(line);
  while (byId('seen').children.length > SEEN_MAX) byId('seen').lastElementChild.remove();
}

/** Copies a text; the focus goes back to the button. */
async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Outside of a secure context there is no clipboard but the old way.
    const area = make('textarea', 'unseen');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
}

async function copy() {
  const last = answers[answers.length - 1];
  if (!last) return;
  await copyText(report(last.status, conclude(last.status, ageOf(last)), new Date().toISOString(), ageOf(last)), byId('copy'));
  write(byId('copied'), 'copied');
  setTimeout(() => write(byId('copied'), ''), 3000);
}

byId('copy').addEventListener('click', copy);
document.addEventListener('click', async (event) => {
  const button = event.target.closest('.commands button');
  if (!button) return;
  await copyText(button.previousElementSibling.textContent, button);
  write(button, 'copied');
  write(byId('announcer'), 'copied');
  setTimeout(() => write(button, 'Copy'), 3000);
});
byId('filter').addEventListener('input', draw);
byId('consumers').addEventListener('click', (event) => {
  const fold = event.target.closest('button');
  if (!fold) return;
  const { name } = fold.dataset;
  if (!openGroups.delete(name)) openGroups.add(name);
  draw();
});
// What scrolls must be reached by the keyboard; what does not must not be a stop on its way.
const scrolling = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const box = target.closest('.scroll');
  const scrolls = box.scrollWidth > box.clientWidth;
  if (scrolls) {
    box.tabIndex = 0;
    box.setAttribute('role', 'group');
    box.setAttribute('aria-labelledby', box.closest('section').getAttribute('aria-labelledby'));
  } else if (box.hasAttribute('tabindex')) {
    ['tabindex', 'role', 'aria-labelledby'].forEach((name) => box.removeAttribute(name));
  }
}));
document.querySelectorAll('.scroll').forEach((box) => { scrolling.observe(box); scrolling.observe(box.firstElementChild); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { draw(); poll(); } });
function tick() {
  draw();
  setTimeout(tick, calm.matches ? 1000 : 250);
}
tick();
poll();
askHistory();
