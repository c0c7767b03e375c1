// Reads row events with @vlasky/zongji and counts their rows.
//
// usage: zongji.cjs HOST PORT ROWS
const ZongJi = require('@vlasky/zongji');

const [host, port, wanted] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const stream = new ZongJi({ host, port, user: 'root', password: '' });
let rows = 0;
stream.on('binlog', (event) => {
  if (!event.rows) return;
  rows += event.rows.length;
  if (rows >= wanted) {
    console.log(rows);
    process.exit(0);
  }
});
stream.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
stream.start({
  serverId: 4000000012,
  filename: 'binlog.000001',
  position: 4,
  includeEvents: ['rotate', 'tablemap', 'writerows', 'updaterows', 'deleterows'],
});
