// Reads row events with @vlasky/zongji; see ../README.md for how it is called.
const fs = require('node:fs');
const path = require('node:path');
const { default: ZongJi } = require('@vlasky/zongji');

const [host, port, filename, position, wanted, seconds, mode] = process.argv.slice(2);
const stream = new ZongJi({ host, port: Number(port), user: 'root', password: '' });
const agesUs = [];
let rows = 0;
let until;

function end() {
  const about = path.join(process.env.NODE_PATH, '@vlasky/zongji/package.json');
  const { version } = JSON.parse(fs.readFileSync(about));
  console.log(JSON.stringify({ reader: `@vlasky/zongji ${version}`, rows, ages_us: agesUs }));
  stream.removeAllListeners('binlog');
  process.stdin.on('end', () => process.exit(0)).resume();
}

stream.on('binlog', (event) => {
  if (!event.rows) return;
  if (until === undefined) {
    until = performance.now() + 1000 * Number(seconds);
    console.log('reading');
  }
  if (mode === 'ages') {
    const nowUs = (performance.timeOrigin + performance.now()) * 1000;
    for (const { due_us: dueUs } of event.rows) {
      if (dueUs) agesUs.push(Math.round(nowUs - Number(dueUs)));
    }
    rows = agesUs.length;
  } else {
    rows += event.rows.length;
  }
  if (rows >= Number(wanted) || performance.now() >= until) end();
});
stream.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
stream.start({
  serverId: 4000000012,
  filename,
  position: Number(position),
  includeEvents: ['rotate', 'tablemap', 'writerows', 'updaterows', 'deleterows'],
});
